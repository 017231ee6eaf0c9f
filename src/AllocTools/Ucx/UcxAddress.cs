using System.Buffers.Binary;
using System.Security.Cryptography;
using AllocTools.Endpoints.Addressing;

namespace AllocTools.Ucx;

/// <summary>
/// The form of an endpoint's own address: a mark (8 bytes), the endpoint's number (8), its error handling (1), zeros
/// (3), the length of the worker's address (4), that address, CRC-32C of all preceding bytes (4).
/// </summary>
/// <remarks>UCX reads a worker's address without knowing its length, and trusts its contents: a truncated or damaged one must not be passed to it.</remarks>
internal static class UcxAddress
{
    private const int HeaderLength = 24;
    private const int ChecksumLength = sizeof(uint);

    private static ReadOnlySpan<byte> Mark => "RMAUCX01"u8;

    public static byte[] Compose(ulong number, UcxErrorHandling errorHandling, ReadOnlySpan<byte> worker)
    {
        byte[] address = new byte[HeaderLength + worker.Length + ChecksumLength];
        Mark.CopyTo(address);
        BinaryPrimitives.WriteUInt64LittleEndian(address.AsSpan(8), number);
        address[16] = (byte)errorHandling;
        BinaryPrimitives.WriteInt32LittleEndian(address.AsSpan(20), worker.Length);
        worker.CopyTo(address.AsSpan(HeaderLength));
        BinaryPrimitives.WriteUInt32LittleEndian(address.AsSpan(^ChecksumLength), Crc32C.Of(address.AsSpan(..^ChecksumLength)));
        return address;
    }

    /// <summary>Splits an address into its parts.</summary>
    /// <returns>The reason why the address can't be used; null if it can.</returns>
    public static string? FindReasonAgainst(ReadOnlySpan<byte> address, UcxErrorHandling errorHandling)
    {
        if (address.Length < HeaderLength + ChecksumLength || !address.StartsWith(Mark))
            return "it is not an address of this provider";
        if (BinaryPrimitives.ReadInt32LittleEndian(address[20..]) != address.Length - HeaderLength - ChecksumLength)
            return "it was truncated, or something was appended to it";
        if (Crc32C.Of(address[..^ChecksumLength]) != BinaryPrimitives.ReadUInt32LittleEndian(address[^ChecksumLength..]))
            return "its checksum does not match: it was damaged or changed on the way";
        return address[16] != (byte)errorHandling
            ? $"its ErrorHandling is {(UcxErrorHandling)address[16]}, and this endpoint's is {errorHandling}: give both the same"
            : null;
    }

    public static ulong NumberOf(ReadOnlySpan<byte> address) => BinaryPrimitives.ReadUInt64LittleEndian(address[8..]) & UcxTag.SenderMask;

    public static ReadOnlySpan<byte> WorkerOf(ReadOnlySpan<byte> address) => address[HeaderLength..^ChecksumLength];
}

/// <summary>The tags of messages: the kind of message, and the number of the sending endpoint.</summary>
internal static class UcxTag
{
    public const ulong SenderMask = ulong.MaxValue >> 2;
    public const ulong KindMask = ~SenderMask;
    public const ulong Message = 1UL << 62;
    public const ulong Notification = 2UL << 62;

    /// <summary>Returns a unique number for an endpoint.</summary>
    public static ulong NewNumber() => BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))) & SenderMask;
}
