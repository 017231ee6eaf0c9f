using System.Buffers.Binary;
using System.Numerics;

namespace AllocTools.Endpoints.Addressing;

/// <summary>Computes the checksum of data that peers receive: CRC-32C (Castagnoli), as in iSCSI (RFC 3720, B.4).</summary>
internal static class Crc32C
{
    public static uint Of(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        foreach (byte value in bytes)
            crc = BitOperations.Crc32C(crc, value);
        return ~crc;
    }
}
