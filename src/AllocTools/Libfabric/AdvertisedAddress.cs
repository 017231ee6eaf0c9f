using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Determines the address that peers receive, if an endpoint is addressed by IP.</summary>
/// <remarks>
/// libfabric reports the address that an endpoint is bound to. A wildcard (0.0.0.0, ::) does not identify a machine: a
/// peer that uses it reaches itself. Therefore it is replaced by AdvertisedNode, or by the address of the interface
/// with the default route.
/// </remarks>
internal static class AdvertisedAddress
{
    /// <summary>Returns the address to give to peers.</summary>
    /// <param name="bound">The address from libfabric.</param>
    /// <param name="format">The format of that address.</param>
    /// <param name="options">The options with AdvertisedNode.</param>
    /// <exception cref="RmaProviderException">There is no address, or there are several and it is unclear which one to use.</exception>
    public static byte[] Of(byte[] bound, fi_addr_format format, LibfabricOptions options)
    {
        if (!SocketAddressBytes.TryRead(format, bound, out IPEndPoint? endpoint))
            return bound;
        if (options.AdvertisedNode is { Length: > 0 } node)
            return SocketAddressBytes.WithHost(bound, Resolve(node, endpoint.AddressFamily));
        return SocketAddressBytes.IsWildcard(endpoint.Address) ? SocketAddressBytes.WithHost(bound, FindReachable(endpoint.Address)) : bound;
    }

    /// <summary>Returns the address of an interface, or null if no interface has the name or it has no address of the wildcard's family.</summary>
    /// <exception cref="RmaProviderException">The interface has several addresses, and none of them has the default route.</exception>
    public static IPAddress? OfInterface(string? name, IPAddress wildcard)
    {
        IPAddress[] own = string.IsNullOrEmpty(name) ? [] : [.. OwnAddresses(wildcard.AddressFamily, i => i.Name == name)];
        if (own.Length == 0)
            return null;
        return Choose(own) ?? throw new RmaProviderException(
            $"Node is '{wildcard}' and Domain is '{name}', an interface with several addresses: {string.Join(", ", own.AsEnumerable())}. Set Node to one of them.");
    }

    private static IPAddress Resolve(string node, AddressFamily family)
    {
        IPAddress[] found;
        try
        {
            found = IPAddress.TryParse(node, out IPAddress? literal) ? [literal] : Dns.GetHostAddresses(node);
        }
        catch (SocketException e)
        {
            throw new RmaProviderException($"AdvertisedNode is '{node}', which can't be resolved: {e.Message}. It must be an IP address, or a host name that this machine can resolve.", innerException: e);
        }
        IPAddress address = found.FirstOrDefault(a => a.AddressFamily == family)
            ?? throw new RmaProviderException($"AdvertisedNode is '{node}', which has no {Name(family)} address, but the endpoint is bound to one. Both must be of one kind; see Node.");
        return !SocketAddressBytes.IsWildcard(address)
            ? address
            : throw new RmaProviderException($"AdvertisedNode is '{node}', which does not identify a machine: a peer that uses it reaches itself. It must be an address at which peers reach this machine.");
    }

    private static IPAddress FindReachable(IPAddress wildcard)
    {
        IPAddress[] own = [.. OwnAddresses(wildcard.AddressFamily, static _ => true).Where(static a => !IPAddress.IsLoopback(a))];
        // A machine without a network can be reached only from itself.
        if (own.Length == 0)
            return wildcard.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Loopback : IPAddress.IPv6Loopback;
        return Choose(own) ?? throw new RmaProviderException(
            $"The endpoint is bound to {wildcard}, which does not identify this machine to peers, and it is not clear which of its addresses they reach: {string.Join(", ", own.AsEnumerable())}. "
            + "Set AdvertisedNode to that one, or Node instead of the wildcard.");
    }

    private static IEnumerable<IPAddress> OwnAddresses(AddressFamily family, Func<NetworkInterface, bool> isMeant) =>
        NetworkInterface.GetAllNetworkInterfaces()
            .Where(i => i.OperationalStatus is OperationalStatus.Up or OperationalStatus.Unknown && isMeant(i))
            .SelectMany(static i => i.GetIPProperties().UnicastAddresses)
            .Select(static a => a.Address)
            .Where(a => a.AddressFamily == family && !a.IsIPv6LinkLocal);

    /// <summary>Returns the only address, or the one with the default route; null if the choice is not clear.</summary>
    private static IPAddress? Choose(IPAddress[] own) =>
        own.Length == 1 ? own[0] : FindRouting(own[0].AddressFamily) is { } routing && own.Contains(routing) ? routing : null;

    /// <summary>Returns the source address of packets to other networks, or null if there is no route. Nothing is sent.</summary>
    private static IPAddress? FindRouting(AddressFamily family)
    {
        try
        {
            using Socket socket = new(family, SocketType.Dgram, ProtocolType.Udp);
            // These addresses are reserved for documentation (RFC 5737, RFC 3849): only the default route leads there.
            socket.Connect(IPAddress.Parse(family == AddressFamily.InterNetwork ? "192.0.2.1" : "2001:db8::1"), 9);
            return (socket.LocalEndPoint as IPEndPoint)?.Address;
        }
        catch (SocketException)
        {
            // There is no route, or no such address family here.
            return null;
        }
    }

    private static string Name(AddressFamily family) => family == AddressFamily.InterNetwork ? "IPv4" : "IPv6";
}
