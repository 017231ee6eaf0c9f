using System.Numerics;
using System.Runtime.CompilerServices;

namespace AllocTools.Pooling;

/// <summary>Finds the smallest size class that serves a length.</summary>
/// <remarks>
/// It is a value in the engine itself, which saves a load on each rent. The number of the length's bits says where to
/// start; several classes within one doubling are tried one after the other.
/// </remarks>
internal readonly struct ClassIndex
{
    // Indexed by the number of leading zero bits of length - 1: the first class that any such length may need.
    private readonly SizeClass[] _first;

    public ClassIndex(SizeClass[] ascending)
    {
        _first = new SizeClass[65];
        for (int zeros = 0; zeros < _first.Length; zeros++)
        {
            // The shortest length whose length - 1 has that many.
            ulong shortest = zeros == 64 ? 1 : (1UL << (63 - zeros)) + 1;
            _first[zeros] = Array.Find(ascending, c => (ulong)c.BlockSize >= shortest) ?? ascending[^1];
        }
        Largest = ascending[^1].BlockSize;
    }

    /// <summary>The largest class's block size.</summary>
    public long Largest { get; }

    /// <param name="length">1 to <see cref="Largest"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public SizeClass Of(long length)
    {
        SizeClass sizeClass = _first[BitOperations.LeadingZeroCount((ulong)(length - 1))];
        while (sizeClass.BlockSize < length)
            sizeClass = sizeClass.Next!;
        return sizeClass;
    }
}
