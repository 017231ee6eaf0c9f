using System.Buffers.Binary;

namespace AllocTools.Endpoints.Addressing;

/// <summary>
/// Encodes an endpoint's address: the transport's own address, unchanged, followed by a trailer that describes the
/// transport.
/// </summary>
/// <remarks>
/// A transport that receives the whole address reads its own part and stops there. The trailer is recognised from the
/// end: start mark (4 bytes), <see cref="TransportDescription"/>, CRC-32C of the trailer up to there (4), length of the
/// trailer from mark to mark (2), version (2), end mark (4). docs/wire-forms.md describes it byte by byte. The checksum
/// does not cover the transport's part: if a machine's address looks different from outside, the code that passes the
/// address on may change the host or the port in it.
/// </remarks>
internal static class EndpointAddress
{
    /// <summary>The longest address with its trailer, in bytes.</summary>
    public const int MaxLength = 1024;

    private const ushort FormVersion = 1;
    private const int MarkLength = 4;
    private const int FooterLength = 12;

    private static ReadOnlySpan<byte> StartMark => [0xA7, (byte)'R', (byte)'M', (byte)'A'];

    private static ReadOnlySpan<byte> EndMark => [(byte)'R', (byte)'M', (byte)'A', 0xA7];

    /// <summary>Builds an address with its trailer.</summary>
    /// <param name="transportAddress">The transport's own address.</param>
    /// <param name="description">The contents of the trailer.</param>
    public static byte[] Compose(ReadOnlySpan<byte> transportAddress, TransportDescription description)
    {
        byte[] fields = description.Encoded;
        int trailer = MarkLength + fields.Length + FooterLength;
        byte[] address = new byte[transportAddress.Length + trailer];
        transportAddress.CopyTo(address);
        StartMark.CopyTo(address.AsSpan(transportAddress.Length));
        fields.CopyTo(address, transportAddress.Length + MarkLength);
        Span<byte> footer = address.AsSpan(^FooterLength);
        BinaryPrimitives.WriteUInt32LittleEndian(footer, Crc32C.Of(address.AsSpan(transportAddress.Length..^FooterLength)));
        BinaryPrimitives.WriteUInt16LittleEndian(footer[4..], (ushort)trailer);
        BinaryPrimitives.WriteUInt16LittleEndian(footer[6..], FormVersion);
        EndMark.CopyTo(footer[8..]);
        return address;
    }

    /// <summary>Splits an address into its parts.</summary>
    /// <param name="address">An address with a trailer, or a transport's own address, for example from a C program.</param>
    /// <param name="description">The contents of the trailer; null if there is none.</param>
    /// <param name="error">An error in the address that does not depend on the transport; null if the address can be used.</param>
    /// <returns>The transport's own address, as far as it can be recognised.</returns>
    public static ReadOnlySpan<byte> Parse(ReadOnlySpan<byte> address, out TransportDescription? description, out string? error)
    {
        description = null;
        error = null;
        if (address.Length > MaxLength)
        {
            error = $"an address has at most {MaxLength} bytes";
            return default;
        }
        int start = address.LastIndexOf(StartMark);
        if (!address.EndsWith(EndMark))
        {
            error = start < 0 ? null : "its trailer does not end as it should: it was truncated, or something was appended to it";
            return start < 0 ? address : address[..start];
        }
        if (address.Length < MarkLength + FooterLength)
        {
            error = "it is too short for its trailer: it was truncated";
            return default;
        }
        ReadOnlySpan<byte> footer = address[^FooterLength..];
        ushort version = BinaryPrimitives.ReadUInt16LittleEndian(footer[6..]);
        int trailer = BinaryPrimitives.ReadUInt16LittleEndian(footer[4..]);
        if (version != FormVersion)
        {
            error = $"its trailer has version {version}, and this AllocTools reads version {FormVersion}";
            return start < 0 ? default : address[..start];
        }
        if (trailer < MarkLength + FooterLength || trailer > address.Length || !address[^trailer..].StartsWith(StartMark))
        {
            error = "its trailer does not start where it says: it was truncated or damaged";
            return default;
        }
        ReadOnlySpan<byte> transportAddress = address[..^trailer];
        if (Crc32C.Of(address[^trailer..^FooterLength]) != BinaryPrimitives.ReadUInt32LittleEndian(footer))
            error = "its checksum does not match: it was damaged or changed on the way";
        else
            description = TransportDescription.Decode(address[^trailer..][MarkLength..^FooterLength], out error);
        return transportAddress;
    }
}
