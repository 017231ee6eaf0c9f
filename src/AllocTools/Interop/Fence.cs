using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace AllocTools.Interop;

/// <summary>Orders a store before a later load, where two threads each write one word and then read the other's.</summary>
/// <remarks>
/// Each promises: what this thread wrote before is visible to all threads before it reads anything after. So of two
/// threads that each write, pass a fence, and read what the other wrote, at least one sees the other. Neither a volatile
/// access nor a lock promises that on any processor. docs/architecture.md lists all handshakes that need it, with both sides.
/// </remarks>
internal static class Fence
{
    /// <summary>Behind any store.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Full() => Interlocked.MemoryBarrier();

    /// <summary>
    /// Behind a store that is an interlocked operation. On x86 that is a full fence by itself, and this costs nothing; on
    /// ARM64 (casal, swpal, ldaddal) its store may become visible after a later load.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AfterInterlocked()
    {
        if (!X86Base.IsSupported)
            Interlocked.MemoryBarrier();
    }
}
