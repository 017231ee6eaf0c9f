using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace AllocTools.Interop;

/// <summary>Orders a store before a later load, where two threads each write one word and then read the other's.</summary>
internal static class Fence
{
    /// <summary>
    /// Behind an interlocked operation. On x86 that is a full fence by itself; on ARM64 its store may become visible after
    /// a later load.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AfterInterlocked()
    {
        if (!X86Base.IsSupported)
            Interlocked.MemoryBarrier();
    }
}
