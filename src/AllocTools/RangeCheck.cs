using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using AllocTools.Validation;

namespace AllocTools;

/// <summary>Checks that a part lies within a whole.</summary>
internal static class RangeCheck
{
    /// <param name="offset">Bytes from the start of the whole.</param>
    /// <param name="length">Bytes of the part.</param>
    /// <param name="whole">Bytes of the whole.</param>
    /// <param name="offsetName">The caller's parameter that the offset comes from.</param>
    /// <param name="lengthName">The caller's parameter that the length comes from.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the whole.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ThrowIfOutside(long offset, long length, long whole, string offsetName = "offset", string lengthName = "length")
    {
        // Unsigned, so that a negative offset or length is too large.
        if ((ulong)offset > (ulong)whole || (ulong)length > (ulong)(whole - offset))
            Throw(offset, length, whole, offsetName, lengthName);
    }

    /// <summary>Returns the number of bytes from an offset to the end.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The offset is beyond the end.</exception>
    public static long Rest(long offset, long whole)
    {
        ThrowIfOutside(offset, 0, whole);
        return whole - offset;
    }

    /// <summary>Resolves a range in a whole that may be longer than an array, which <see cref="Range.GetOffsetAndLength"/> does not support.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range exceeds the whole.</exception>
    public static (long Offset, long Length) Resolve(Range range, long whole)
    {
        long start = PlaceOf(range.Start);
        long end = PlaceOf(range.End);
        if (start < 0 || end > whole || start > end)
            throw new ArgumentOutOfRangeException(nameof(range), $"The range {range} is out of range: there are {InWords.Number(whole)} bytes, and a range must not end before it starts.");
        return (start, end - start);

        long PlaceOf(Index index) => index.IsFromEnd ? whole - index.Value : index.Value;
    }

    [DoesNotReturn]
    private static void Throw(long offset, long length, long whole, string offsetName, string lengthName)
    {
        string bytes = InWords.Number(whole);
        if ((ulong)offset > (ulong)whole)
            throw new ArgumentOutOfRangeException(offsetName, $"Offset {InWords.Number(offset)} is out of range: there are {bytes} bytes.");
        throw new ArgumentOutOfRangeException(lengthName, $"{InWords.Number(length)} bytes from offset {InWords.Number(offset)} on are out of range: there are {bytes} bytes.");
    }
}
