using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace AllocTools;

/// <summary>The one check that a part lies within a whole.</summary>
internal static class RangeCheck
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ThrowIfOutside(long offset, long length, long whole)
    {
        // Unsigned, so that a negative offset or length is too large.
        if ((ulong)offset > (ulong)whole || (ulong)length > (ulong)(whole - offset))
            Throw(offset, length, whole);
    }

    [DoesNotReturn]
    private static void Throw(long offset, long length, long whole) => throw new ArgumentOutOfRangeException(
        nameof(offset), $"Offset {offset} and length {length} (bytes) reach out of a whole of {whole} bytes.");
}
