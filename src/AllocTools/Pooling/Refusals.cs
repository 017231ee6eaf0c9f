using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>Creates the errors of requests that a pool does not serve, and counts them.</summary>
internal sealed class Refusals(PoolSettings settings, PoolCounters counters, PoolLifetime lifetime, PoolMemory memory, SlabOwners owners, PoolTotals totals)
{
    /// <summary>Checks whether a request may be served at all.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or over the cap.</exception>
    /// <exception cref="ObjectDisposedException">The pool is draining or closed.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void CheckRequest(long length)
    {
        if (length <= 0 || length > memory.Budget.Limit)
            ThrowLength(length);
        lifetime.CheckOpen();
    }

    /// <summary>Creates and counts the error of a request whose time is up.</summary>
    public RmaPoolExhaustedException TimedOut(long length, TimeSpan timeout)
    {
        Count(isLate: true);
        return LateFor(length, timeout);
    }

    public RmaPoolExhaustedException LateFor(long length, TimeSpan timeout) =>
        Exhausted(length, $"{InWords.Size(length)} within RentTimeout ({timeout})", "Return buffers sooner, raise MaxRegisteredBytes, or raise RentTimeout.");

    public void Count(bool isLate)
    {
        // This comes first, so that nobody sees more time-outs than refusals.
        Interlocked.Increment(ref counters.Rejections);
        if (isLate)
            Interlocked.Increment(ref counters.RentTimeouts);
    }

    /// <summary>Creates and counts the error of a request that does not wait and finds no room.</summary>
    public RmaPoolExhaustedException AtOnce(long length)
    {
        Count(isLate: false);
        return NeverFits(length) ? DoesNotFit(length) : Exhausted(length, InWords.Size(length), "Return buffers sooner, raise MaxRegisteredBytes, or raise RentTimeout to wait.");
    }

    public RmaPoolExhaustedException Exhausted(long length, string what, string advice = "Return buffers sooner, or raise MaxRegisteredBytes.")
    {
        RmaPoolStatistics now = totals.GetStatistics();
        return new RmaPoolExhaustedException(
            $"The pool '{settings.Name}' can't serve {what}: MaxRegisteredBytes is {InWords.Size(memory.Budget.Limit)}, {InWords.Size(now.RegisteredBytes)} are registered, "
            + $"{InWords.Count(now.RentedBuffers, "buffer is", "buffers are")} rented and {InWords.Count(now.PendingRequests, "request waits", "requests wait")}."
            + $"{(memory.InTransit.Bytes is > 0 and long passing ? $" {InWords.Size(passing)} are being registered or given back." : "")}"
            + $"{(now.StrandedBytes == 0 ? "" : $" {InWords.Size(now.StrandedBytes)} could not be given back to the system; see the log.")} {advice}",
            length,
            memory.Budget.Limit);
    }

    public RmaPoolExhaustedException DoesNotFit(long length) => Exhausted(
        length,
        $"{InWords.Size(length)} beside the {InWords.Size(owners.InitialRegions.Sum(r => r.Length))} of its InitialBlocks, which stay with their size classes",
        "Raise MaxRegisteredBytes, or lower InitialBlocks.");

    /// <summary>Creates the error for initial blocks of a class that do not fit below the cap.</summary>
    public RmaPoolExhaustedException NoRoomAtStart(SizeClass sizeClass) => Exhausted(
        sizeClass.InitialBlocks * sizeClass.BlockSize,
        $"the {InWords.Count(sizeClass.InitialBlocks, "initial block", "initial blocks")} of size class {InWords.Bytes(sizeClass.BlockSize)}",
        "Raise MaxRegisteredBytes, or lower InitialBlocks.");

    /// <summary>Whether no return can make room for it, because memory registered at start stays with its classes.</summary>
    public bool NeverFits(long length) =>
        length > owners.Classes[^1].BlockSize && memory.RoundToPages(length) > memory.Budget.Limit - owners.InitialRegions.Sum(r => r.Length);

    [DoesNotReturn]
    private void ThrowLength(long length) => throw new ArgumentOutOfRangeException(
        nameof(length), length, $"A request of the pool '{settings.Name}' must be between 1 byte and {InWords.Size(memory.Budget.Limit)} long (its option MaxRegisteredBytes).");
}
