using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace AllocTools.Interop;

/// <summary>Orders a store before a later load, for two threads that each write one word and then read the other's.</summary>
/// <remarks>
/// Each fence guarantees that what this thread wrote before it is visible to all threads before the thread reads
/// anything after it. So of two threads that each write, pass a fence, and read what the other wrote, at least one
/// sees the other's write. Neither a volatile access nor a lock guarantees that on every processor.
/// docs/architecture.md lists all handshakes that need it, with both sides.
/// </remarks>
internal static class Fence
{
    /// <summary>The fence after any store.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Full() => Interlocked.MemoryBarrier();

    /// <summary>
    /// The fence after a store that is an interlocked operation. On x86 such an operation is itself a full fence, and
    /// this costs nothing; on ARM64 (casal, swpal, ldaddal) its store may become visible after a later load.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AfterInterlocked()
    {
        if (!X86Base.IsSupported)
            Interlocked.MemoryBarrier();
    }
}
