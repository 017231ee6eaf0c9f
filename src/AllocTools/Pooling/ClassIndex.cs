using System.Numerics;
using System.Runtime.CompilerServices;

namespace AllocTools.Pooling;

/// <summary>Finds the smallest size class that serves a length.</summary>
/// <remarks>By the number of the length's bits it starts near the class; several classes within one doubling are gone through.</remarks>
internal sealed class ClassIndex
{
    private readonly long[] _sizes;

    // By the number of bits of length - 1: the first class that any such length may need.
    private readonly byte[] _first = new byte[64];

    public ClassIndex(long[] ascendingSizes)
    {
        _sizes = ascendingSizes;
        for (int bits = 0; bits < _first.Length; bits++)
        {
            // The shortest length whose length - 1 has so many bits.
            ulong shortest = bits == 0 ? 1 : (1UL << (bits - 1)) + 1;
            int index = 0;
            while (index < _sizes.Length - 1 && (ulong)_sizes[index] < shortest)
                index++;
            _first[bits] = (byte)index;
        }
    }

    /// <summary>The largest class's block size.</summary>
    public long Largest => _sizes[^1];

    /// <param name="length">1 to <see cref="Largest"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Of(long length)
    {
        long[] sizes = _sizes;
        int index = _first[63 & (64 - BitOperations.LeadingZeroCount((ulong)(length - 1)))];
        while ((uint)index < (uint)sizes.Length && sizes[index] < length)
            index++;
        return index;
    }
}
