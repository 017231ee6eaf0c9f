using System.Runtime.InteropServices;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>The two ends of a ring, on separate cache lines.</summary>
[StructLayout(LayoutKind.Explicit, Size = 384)]
internal struct RingEnds
{
    [FieldOffset(128)]
    public long Written;

    [FieldOffset(256)]
    public long Read;
}
