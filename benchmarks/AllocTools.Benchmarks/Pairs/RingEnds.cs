using System.Runtime.InteropServices;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>The two ends of a ring, on cache lines of their own.</summary>
[StructLayout(LayoutKind.Explicit, Size = 384)]
internal struct RingEnds
{
    [FieldOffset(128)]
    public long Written;

    [FieldOffset(256)]
    public long Read;
}
