using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using AllocTools.Diagnostics;
using AllocTools.Libfabric;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>Finds out which peers of an endpoint are lost.</summary>
/// <remarks>
/// Some transports say so by an error. tcp and net of libfabric 1.17 don't where the peer was idle when it died: each
/// operation gets -FI_EAGAIN from then on, just as with a peer that is busy or stopped. There the system is asked, by a
/// connection to the peer's address that is closed at once: refused means that nothing listens there any more; a process
/// that is busy or stopped still has its port. Any thread may call this.
/// </remarks>
internal sealed class PeerLosses(LibfabricContext context, PeerTable peers, EndpointCounters counters, TimeProvider time)
{
    /// <summary>How long the transport takes nothing for a peer before the system is asked.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(100);

    /// <summary>How often, at most, the system is asked about one peer, and how long its answer may take.</summary>
    private static readonly TimeSpan ProbePeriod = TimeSpan.FromSeconds(1);

    private readonly string _provider = context.Traits.ProviderName;
    private readonly bool _isTcp = IsTcp(context.Traits.ProviderName);

    /// <summary>Called when a peer was found to be lost: whoever makes progress ends what is outstanding with it.</summary>
    public Action Found { private get; set; } = static () => { };

    /// <summary>An operation has failed.</summary>
    /// <param name="slot">The operation.</param>
    /// <param name="status">libfabric's code, of either sign.</param>
    /// <returns>The operation's error where its peer is lost; null where it is not, or nothing tells yet.</returns>
    public RmaPeerLostException? Note(OperationSlot slot, int status)
    {
        if (peers.Find(slot) is not { } entry)
            return null;
        int error = Math.Abs(status);
        // sockets keeps no connection to a peer that is gone, and finds none for the next operation.
        if (LibfabricErrors.IsLoss(error) || (error == FiErrno.FI_ENOENT && _provider == "sockets"))
            Lose(slot.Peer, entry, $"the transport says {FiErrno.NameOf(error)} ({context.Library.StrError(error)})", error);
        else if (error == FiErrno.FI_ECANCELED)
            Probe(slot.Peer, entry);
        return peers.FindLoss(slot);
    }

    /// <summary>The transport still takes nothing of an operation.</summary>
    public void NoteRefused(OperationSlot slot)
    {
        if (_isTcp && time.GetElapsedTime(slot.Started) >= Patience && peers.Find(slot) is { } entry)
            Probe(slot.Peer, entry);
    }

    /// <summary>The transport took nothing of an operation that is not tried again here; the caller may.</summary>
    public void NoteRefusedOnce(OperationSlot slot)
    {
        if (_isTcp && peers.Find(slot) is { } entry && entry.IsRefusedFor(time.GetTimestamp(), Patience, time))
            Probe(slot.Peer, entry);
    }

    /// <summary>Looks at the files of all peers, where they have files.</summary>
    public void LookAtFiles()
    {
        foreach ((ulong handle, PeerEntry entry) in peers.Present)
        {
            if (entry.File?.FindLoss() is string reason)
                Lose(handle, entry, reason, FiErrno.FI_ECONNRESET);
        }
    }

    /// <summary>Nothing reaches a peer any more.</summary>
    public void Lose(ulong handle, PeerEntry entry, string reason, int error)
    {
        if (!peers.TryLose(handle, entry, new PeerLoss(reason, error)))
            return;
        counters.LostPeer();
        Found();
    }

    private void Probe(ulong handle, PeerEntry entry)
    {
        if (!_isTcp || !TryParse(entry.Address, out IPEndPoint? address) || !entry.TryProbe(time.GetTimestamp(), ProbePeriod, time))
            return;
        _ = ProbeAsync(handle, entry, address);
    }

    private async Task ProbeAsync(ulong handle, PeerEntry entry, IPEndPoint address)
    {
        try
        {
            using var limit = new CancellationTokenSource(ProbePeriod, time);
            using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(address, limit.Token).ConfigureAwait(false);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            Lose(handle, entry, "nothing listens at its address any more", FiErrno.FI_ECONNREFUSED);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // It says nothing of the peer: no route, no answer, or no descriptor left here. Operations time out as ever.
        }
    }

    private static bool IsTcp(string provider) =>
        provider.Split(';')[0] is "tcp" or "net" or "sockets";

    /// <summary>A sockaddr_in or sockaddr_in6: family, port, then the address; before the latter's, 4 bytes of flow label.</summary>
    private static bool TryParse(ReadOnlySpan<byte> address, [NotNullWhen(true)] out IPEndPoint? endpoint)
    {
        const int Inet = 2;
        const int Inet6 = 10;
        endpoint = (address.Length < 8 ? 0 : BitConverter.ToUInt16(address)) switch
        {
            Inet => new IPEndPoint(new IPAddress(address.Slice(4, 4)), BinaryPrimitives.ReadUInt16BigEndian(address[2..])),
            Inet6 when address.Length >= 28 => new IPEndPoint(new IPAddress(address.Slice(8, 16), BitConverter.ToUInt32(address[24..])), BinaryPrimitives.ReadUInt16BigEndian(address[2..])),
            _ => null,
        };
        return endpoint is not null;
    }
}
