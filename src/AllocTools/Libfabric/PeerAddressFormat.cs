using System.Text;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The format of peers' addresses, which is that of the endpoint's own address (fi_info).</summary>
/// <remarks>
/// libfabric reads as many bytes as it expects, whatever the length of the address; shm accepts any text as a name; and
/// a socket address of an unknown family, although it is refused, prevents the address vectors of libfabric 1.17 from
/// accepting any other.
/// </remarks>
internal sealed class PeerAddressFormat(fi_addr_format format, byte[] own)
{
    private const int FamilyLength = sizeof(ushort);
    private static readonly byte[] SchemeEnd = "://"u8.ToArray();

    /// <summary>Returns why an address can't belong to a peer, or null if it can.</summary>
    public string? FindReasonAgainst(ReadOnlySpan<byte> address) => format switch
    {
        fi_addr_format.FI_ADDR_STR => IsText(address) ? null : $"an endpoint's Address begins with a text as '{Encoding.ASCII.GetString(own).TrimEnd('\0')}' and a zero byte",
        fi_addr_format.FI_SOCKADDR or fi_addr_format.FI_SOCKADDR_IN or fi_addr_format.FI_SOCKADDR_IN6 or fi_addr_format.FI_SOCKADDR_IB =>
            address.Length == own.Length && address[..FamilyLength].SequenceEqual(own.AsSpan(0, FamilyLength))
                ? null
                : $"an endpoint's Address begins with a socket address of {own.Length} bytes and family {BitConverter.ToUInt16(own)} ({format})",
        fi_addr_format.FI_ADDR_IB_UD or fi_addr_format.FI_ADDR_EFA or fi_addr_format.FI_ADDR_PSMX3 or fi_addr_format.FI_ADDR_OPX or fi_addr_format.FI_ADDR_CXI =>
            address.Length == own.Length ? null : $"an endpoint's Address begins with {own.Length} bytes ({format})",
        // Addresses of ucx and lnx may have any length.
        _ => address.IsEmpty ? "it is empty" : null,
    };

    private ReadOnlySpan<byte> Scheme
    {
        get
        {
            int end = own.AsSpan().IndexOf(SchemeEnd);
            return own.AsSpan(0, end < 0 ? 0 : end + SchemeEnd.Length);
        }
    }

    private bool IsText(ReadOnlySpan<byte> address) => address.Length > 1 && address.StartsWith(Scheme) && address.IndexOf((byte)0) == address.Length - 1;
}
