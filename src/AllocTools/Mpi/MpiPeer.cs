using AllocTools.Endpoints.Drivers;

namespace AllocTools.Mpi;

/// <summary>A peer: an endpoint of a rank.</summary>
internal sealed class MpiPeer(byte[] address, MpiPlace place, MpiFlow flow) : RmaDriverPeer(address)
{
    public MpiPlace Place => place;

    public MpiFlow Flow => flow;
}

/// <summary>The messages sent to an endpoint, including those before its last insertion.</summary>
/// <param name="to">The endpoint's address.</param>
internal sealed class MpiFlow(byte[] to)
{
    public byte[] To => to;

    /// <summary>Whether the endpoint knows that its messages are counted.</summary>
    public bool HasGreeted { get; set; }

    /// <summary>The number of messages sent to the endpoint.</summary>
    public ulong Sent { get; set; }
}
