using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Engine;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>A peer, as a driver knows it. Drivers derive from it what they need.</summary>
/// <param name="address">Its address, without trailer.</param>
[Experimental(ExperimentalId.Providers)]
public class RmaDriverPeer(ReadOnlyMemory<byte> address)
{
    private PeerLoss? _loss;
    private int _queued;
    private int _insertions = 1;
    private int _finished;
    private volatile bool _isRemoved;

    /// <summary>Its address, without trailer.</summary>
    public ReadOnlyMemory<byte> Address => address;

    /// <summary>Its number, from <see cref="RmaEndpointDriver.InsertPeer"/>.</summary>
    public ulong Number { get; internal set; }

    /// <summary>Nothing reaches it any more.</summary>
    public bool IsLost => Volatile.Read(ref _loss) is not null;

    /// <summary>It was removed: no operation with it is started any more. Some may still run.</summary>
    public bool IsRemoved => _isRemoved;

    /// <summary>It was inserted once more while it was in; what the address said may have changed.</summary>
    /// <param name="latest">What <see cref="RmaEndpointDriver.OpenPeer(ReadOnlySpan{byte})"/> made of the address, which is closed after this.</param>
    protected internal virtual void OnInsertedAgain(RmaDriverPeer latest)
    {
    }

    /// <summary>Gives back what it holds, once no operation uses it any more: it was removed, or the endpoint is closed, after the driver. Must not throw.</summary>
    protected internal virtual void Close()
    {
    }

    /// <summary>Which of the peers that have had its number it is.</summary>
    internal long Generation { get; set; }

    /// <summary>How often it was inserted and not yet removed. Written under the table's lock.</summary>
    internal int Insertions
    {
        get => Volatile.Read(ref _insertions);
        set => Volatile.Write(ref _insertions, value);
    }

    /// <summary>All of those that have inserted it start nothing more with it.</summary>
    internal bool IsFinished => Volatile.Read(ref _finished) >= Insertions;

    /// <summary>What its address said of its transport, when it was inserted last; null where it said nothing.</summary>
    internal TransportDescription? Transport { get; set; }

    /// <summary>Why it is lost; null where it is not.</summary>
    internal PeerLoss? Loss => Volatile.Read(ref _loss);

    /// <returns>False: it was lost before.</returns>
    internal bool TryLose(PeerLoss loss) => Interlocked.CompareExchange(ref _loss, loss, null) is null;

    /// <summary>How many of its operations wait to be posted. Written under the retry queue's lock.</summary>
    internal int Queued
    {
        get => Volatile.Read(ref _queued);
        set => Volatile.Write(ref _queued, value);
    }

    /// <summary>One of those that have inserted it starts nothing more with it. Any thread may call this, under whichever lock.</summary>
    internal void Finish() => Interlocked.Increment(ref _finished);

    /// <summary>One that has called <see cref="Finish"/> removes it.</summary>
    internal void ForgetFinished() => Interlocked.Decrement(ref _finished);

    internal void Remove() => _isRemoved = true;
}
