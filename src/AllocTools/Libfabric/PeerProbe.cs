using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Detects which peers of an endpoint are lost.</summary>
/// <remarks>
/// Some transports report a lost peer by an error. tcp and net of libfabric 1.17 don't if the peer was idle when it
/// died: from then on each operation gets -FI_EAGAIN, just as with a busy or stopped peer. In that case the system is
/// queried by a connection to the peer's address, which is closed immediately: if it is refused, nothing listens there
/// any more, while a busy or stopped process still has its port. Any thread may call this.
/// </remarks>
internal sealed class PeerProbe(LibfabricDriver driver, LibfabricContext context)
{
    /// <summary>The time for which the transport must have accepted nothing for a peer before the system is queried.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(100);

    /// <summary>The shortest time between two queries of the system about one peer, and the longest time for its answer.</summary>
    private static readonly TimeSpan ProbePeriod = TimeSpan.FromSeconds(1);

    private readonly string _provider = context.Traits.ProviderName;
    private readonly bool _isTcp = IsTcp(context.Traits.ProviderName);
    private readonly TimeProvider _time = context.Health.Time;

    /// <summary>Returns why an error means that the peer is lost; null if it does not, or if that is not clear yet.</summary>
    public string? FindLoss(LibfabricPeer peer, int error)
    {
        // sockets drops the connection to a peer that is gone, and finds no connection for the next operation.
        if (LibfabricErrors.IsLoss(error) || (error == FiErrno.FI_ENOENT && _provider == "sockets"))
            return $"the transport reports {FiErrno.NameOf(error)} ({context.Library.StrError(error)})";
        if (error == FiErrno.FI_ECANCELED)
            Probe(peer);
        return null;
    }

    /// <summary>Called when the transport does not accept an operation.</summary>
    /// <param name="peer">The operation's peer.</param>
    /// <param name="elapsed">The time for which it has not accepted it; null if the caller has to try again.</param>
    public void OnFull(LibfabricPeer peer, TimeSpan? elapsed)
    {
        if (_isTcp && (elapsed is { } time ? time >= Patience : peer.IsRefusedFor(_time.GetTimestamp(), Patience, _time)))
            Probe(peer);
    }

    /// <summary>Checks the files of peers, if they have files.</summary>
    public void LookAtFiles(IEnumerable<LibfabricPeer> peers)
    {
        foreach (LibfabricPeer peer in peers)
        {
            if (peer.File?.FindLoss() is string reason)
                driver.ReportLost(peer, reason, FiErrno.FI_ECONNRESET);
        }
    }

    private void Probe(LibfabricPeer peer)
    {
        if (!_isTcp || !TryParse(peer.Address.Span, out IPEndPoint? address) || !peer.TryProbe(_time.GetTimestamp(), ProbePeriod, _time))
            return;
        _ = ProbeAsync(peer, address);
    }

    private async Task ProbeAsync(LibfabricPeer peer, IPEndPoint address)
    {
        try
        {
            using var limit = new CancellationTokenSource(ProbePeriod, _time);
            using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(address, limit.Token).ConfigureAwait(false);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            driver.ReportLost(peer, "nothing listens at its address any more", FiErrno.FI_ECONNREFUSED);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // The result says nothing about the peer: there is no route, no answer, or no free descriptor here.
            // Operations time out as usual.
        }
    }

    private static bool IsTcp(string provider) =>
        provider.Split(';')[0] is "tcp" or "net" or "sockets";

    /// <summary>Parses a sockaddr_in or sockaddr_in6: family, port and address; sockaddr_in6 has 4 bytes of flow label before the address.</summary>
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
