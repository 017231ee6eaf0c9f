using System.Diagnostics.CodeAnalysis;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>The errors of misused leases.</summary>
internal static class LeaseErrors
{
    [DoesNotReturn]
    public static void ThrowDefault() => throw new InvalidOperationException(
        "This is the default RmaBuffer, not a rented one. Rent it from a pool first.");

    [DoesNotReturn]
    public static void ThrowReturned(Slab slab) => throw new InvalidOperationException(
        $"This {Describe(slab)} was returned and may belong to another caller by now. Use a buffer only until it is disposed, and dispose it once.");

    [DoesNotReturn]
    public static void ThrowHeld(int holds) => throw new InvalidOperationException(
        $"This buffer can't be returned: {holds} operation(s) or exposure(s) still hold it. Await its operations and dispose its exposures first, or dispose the buffer: then it comes back when the last of them ends.");

    [DoesNotReturn]
    public static void ThrowPinned(int pins) => throw new InvalidOperationException(
        $"This buffer can't be returned: its memory is pinned {pins} time(s). Dispose each MemoryHandle of Memory.Pin() before the buffer.");

    [DoesNotReturn]
    public static void ThrowNotHeld() => throw new InvalidOperationException(
        "This hold was released before, through a copy of it. A hold is kept in one place and released once.");

    [DoesNotReturn]
    public static void ThrowLateReturn(Slab slab) => throw new ObjectDisposedException(
        nameof(IRmaMemoryPool), $"The {Describe(slab)} was returned after the pool was disposed. It was taken back all the same; return buffers before the pool's DrainTimeout ends.");

    /// <summary>Names a buffer's pool and, if the lease is watched, its length and its owner.</summary>
    private static string Describe(Slab slab)
    {
        string pool = $"of pool '{slab.Owner.Parts.Settings.Name}'";
        return slab.Tracker is { } tracker ? $"buffer of {InWords.Size(tracker.Length)} {pool}, rented by {tracker.Owner}," : $"buffer {pool}";
    }
}
