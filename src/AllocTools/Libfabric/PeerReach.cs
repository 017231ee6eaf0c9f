using System.Net;
using System.Net.Sockets;
using AllocTools.Endpoints.Addressing;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>
/// Whether a peer's IP address can be reached from the address that an endpoint is bound to, and really belongs to the
/// peer.
/// </summary>
/// <remarks>
/// Each machine and each container has its own loopback addresses: on another machine, such an address reaches a
/// different process, often the sender itself. At best, libfabric reports FI_EINVAL.
/// </remarks>
internal sealed class PeerReach(fi_addr_format format, byte[] bound, byte[] advertised, PeerPlace? place)
{
    /// <summary>
    /// The value for system errors that .NET has no name for. From bind(2) it is ENODEV: the address has the scope of an
    /// interface that this machine does not have (ipv6(7)).
    /// </summary>
    private const SocketError NoSuchDevice = SocketError.SocketError;

    /// <summary>Returns why the peer can't be reached, or null if no reason is known.</summary>
    /// <param name="address">The peer's socket address; other addresses are not checked.</param>
    /// <param name="peerPlace">The location that the peer reports; null if it reports none.</param>
    public string? FindReasonAgainst(ReadOnlySpan<byte> address, PeerPlace? peerPlace)
    {
        if (!SocketAddressBytes.TryRead(format, address, out IPEndPoint? peer) || !SocketAddressBytes.TryRead(format, bound, out IPEndPoint? own))
            return null;
        if (SocketAddressBytes.IsWildcard(peer.Address))
            return $"{peer.Address} does not identify a machine: a process that uses it reaches itself. The peer must give an address of its own; see its Node and AdvertisedNode";
        bool isElsewhere = place is { } here && peerPlace is { } there && !here.SharesNetworkWith(there);
        if (IPAddress.IsLoopback(peer.Address) && isElsewhere)
            return $"{peer.Address} is the loopback address of another machine or container, which can be reached only there. Set the peer's Node to an address of its machine";
        if (IPAddress.IsLoopback(own.Address) && (isElsewhere || !IsOfThisMachine(peer.Address)))
            return $"this endpoint is bound to the loopback address {own.Address}, from which {peer.Address} on another machine can't be reached. Set Node to an address of this machine";
        if (isElsewhere && SocketAddressBytes.TryRead(format, advertised, out IPEndPoint? mine) && mine.Address.Equals(peer.Address))
            return $"{peer.Address} is this endpoint's own address, and the peer is on another machine or container that has the same. Set AdvertisedNode to one at which the peer is reached from here";
        return null;
    }

    private static bool IsOfThisMachine(IPAddress address)
    {
        if (IPAddress.IsLoopback(address))
            return true;
        try
        {
            using Socket probe = new(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            probe.Bind(new IPEndPoint(address, 0));
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressNotAvailable or SocketError.AddressFamilyNotSupported or SocketError.InvalidArgument or NoSuchDevice)
        {
            return false;
        }
    }
}
