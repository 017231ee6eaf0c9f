using System.IO.Hashing;
using AllocTools.Endpoints.Addressing;

namespace AllocTools.Endpoints.Integrity;

/// <summary>Computes check values.</summary>
internal static class CheckValue
{
    /// <summary>Computes the check value of bytes; a value of 32 bits is in the lower half.</summary>
    public static ulong Of(RmaIntegrity integrity, ReadOnlySpan<byte> bytes) => integrity switch
    {
        RmaIntegrity.Crc32C => Crc32C.Of(bytes),
        RmaIntegrity.XxHash3 => XxHash3.HashToUInt64(bytes),
        _ => throw Unknown(integrity),
    };

    /// <summary>Computes the check value of bytes and of a number that belongs to them, such as their position.</summary>
    public static ulong Of(RmaIntegrity integrity, ReadOnlySpan<byte> bytes, ulong number) => integrity switch
    {
        RmaIntegrity.Crc32C => (number << 32) | Crc32C.Of(bytes),
        RmaIntegrity.XxHash3 => XxHash3.HashToUInt64(bytes, (long)number),
        _ => throw Unknown(integrity),
    };

    private static ArgumentOutOfRangeException Unknown(RmaIntegrity integrity) =>
        new(nameof(integrity), integrity, $"The check value is {integrity}; it must be {RmaIntegrity.Crc32C} or {RmaIntegrity.XxHash3}.");
}
