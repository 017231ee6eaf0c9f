using System.Diagnostics.CodeAnalysis;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>What a pool says to requests that it does not serve, and how it counts them.</summary>
internal sealed class Refusals(PoolEngine engine)
{
    /// <summary>A request's time is up.</summary>
    public RmaPoolExhaustedException TimedOut(long length, TimeSpan timeout)
    {
        Count(isLate: true);
        return LateFor(length, timeout);
    }

    public RmaPoolExhaustedException LateFor(long length, TimeSpan timeout) =>
        Exhausted(length, $"{InWords.Size(length)} within RentTimeout ({timeout})", "Return buffers sooner, raise MaxRegisteredBytes, or raise RentTimeout.");

    public void Count(bool isLate)
    {
        // First: nobody sees more time-outs than refusals.
        Interlocked.Increment(ref engine.Counters.Rejections);
        if (isLate)
            Interlocked.Increment(ref engine.Counters.RentTimeouts);
    }

    /// <summary>A request that does not wait finds no room.</summary>
    public RmaPoolExhaustedException AtOnce(long length)
    {
        Count(isLate: false);
        return NeverFits(length) ? DoesNotFit(length) : Exhausted(length, InWords.Size(length), "Return buffers sooner, raise MaxRegisteredBytes, or raise RentTimeout to wait.");
    }

    public RmaPoolExhaustedException Exhausted(long length, string what, string advice = "Return buffers sooner, or raise MaxRegisteredBytes.")
    {
        RmaPoolStatistics now = engine.GetStatistics();
        return new RmaPoolExhaustedException(
            $"The pool '{engine.Name}' can't serve {what}: MaxRegisteredBytes is {InWords.Size(engine.Budget.Limit)}, {InWords.Size(now.RegisteredBytes)} are registered, "
            + $"{InWords.Count(now.RentedBuffers, "buffer is", "buffers are")} out and {InWords.Count(now.PendingRequests, "request waits", "requests wait")}."
            + $"{(engine.Memory.InTransit.Bytes is > 0 and long passing ? $" {InWords.Size(passing)} are being registered or given back." : "")}"
            + $"{(now.StrandedBytes == 0 ? "" : $" {InWords.Size(now.StrandedBytes)} could not be given back to the system; see the log.")} {advice}",
            length,
            engine.Budget.Limit);
    }

    public RmaPoolExhaustedException DoesNotFit(long length) => Exhausted(
        length,
        $"{InWords.Size(length)} beside the {InWords.Size(engine.InitialRegions.Sum(r => r.Length))} of its InitialBlocks, which stay with their size classes",
        "Raise MaxRegisteredBytes, or lower InitialBlocks.");

    /// <summary>Nothing that anybody returns makes room for it: what was registered at start stays with its classes.</summary>
    public bool NeverFits(long length) =>
        engine.Requests.ClassOf(length) == engine.ClassCount - 1 && engine.Requests.BytesFor(length) > engine.Budget.Limit - engine.InitialRegions.Sum(r => r.Length);

    public ObjectDisposedException NotOpen() => new(
        nameof(IRmaMemoryPool), $"The pool '{engine.Name}' is {(engine.IsClosed ? "disposed" : "draining, to be disposed")}: nothing can be rented any more. Stop what rents before the pool is drained or disposed.");

    [DoesNotReturn]
    public void ThrowLength(long length) => throw new ArgumentOutOfRangeException(
        nameof(length), length, $"A request of the pool '{engine.Name}' must be between 1 byte and {InWords.Size(engine.Budget.Limit)} long (its option MaxRegisteredBytes).");
}
