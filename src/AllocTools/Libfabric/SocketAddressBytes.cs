using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Reads and changes socket addresses in libfabric's form: sockaddr_in (16 bytes) and sockaddr_in6 (28 bytes). ip(7), ipv6(7).</summary>
internal static class SocketAddressBytes
{
    private const int PortOffset = 2;
    private const int Offset4 = 4;
    private const int Length4 = 16;
    private const int Offset6 = 8;
    private const int ScopeOffset6 = 24;
    private const int Length6 = 28;
    private const ushort Inet4 = 2;
    private const ushort Inet6 = 10;

    /// <summary>Reads an address. Returns false if the format is different, or the bytes are not an address.</summary>
    public static bool TryRead(fi_addr_format format, ReadOnlySpan<byte> address, [NotNullWhen(true)] out IPEndPoint? endpoint)
    {
        endpoint = null;
        if (format is not (fi_addr_format.FI_SOCKADDR or fi_addr_format.FI_SOCKADDR_IN or fi_addr_format.FI_SOCKADDR_IN6) || address.Length < sizeof(ushort))
            return false;
        // The family is in the machine's byte order, the port in network byte order.
        endpoint = (BitConverter.ToUInt16(address), address.Length) switch
        {
            (Inet4, Length4) => new IPEndPoint(new IPAddress(address.Slice(Offset4, 4)), Port(address)),
            (Inet6, Length6) => new IPEndPoint(new IPAddress(address.Slice(Offset6, 16), BitConverter.ToUInt32(address[ScopeOffset6..])), Port(address)),
            _ => null,
        };
        return endpoint is not null;
    }

    /// <summary>Returns the address with another host, which must be of the same family.</summary>
    public static byte[] WithHost(ReadOnlySpan<byte> address, IPAddress host)
    {
        byte[] changed = address.ToArray();
        bool isFour = host.AddressFamily == AddressFamily.InterNetwork;
        host.TryWriteBytes(changed.AsSpan(isFour ? Offset4 : Offset6), out _);
        return changed;
    }

    /// <summary>Whether an address stands for all addresses of a machine, and does not identify one.</summary>
    public static bool IsWildcard(IPAddress address) => address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);

    private static int Port(ReadOnlySpan<byte> address) => BinaryPrimitives.ReadUInt16BigEndian(address[PortOffset..]);
}
