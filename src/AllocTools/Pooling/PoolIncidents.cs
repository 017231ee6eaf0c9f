using AllocTools.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>
/// Logs and counts failures that no caller can do anything about, or for which there is no caller. The pool goes on.
/// </summary>
/// <remarks>
/// <see cref="RmaPoolStatistics"/> has the count of each. There may be thousands of late and deferred returns: a return whose
/// owner is known is always logged, and the others are logged once per <see cref="LogInterval"/>, with their number so far.
/// </remarks>
internal sealed class PoolIncidents(PoolSettings settings, PoolCounters counters)
{
    private static readonly TimeSpan LogInterval = TimeSpan.FromMinutes(1);

    private const long Never = long.MinValue;

    private long _deferredReturns;
    private long _deferredLogged = Never;
    private long _lateReturns;
    private long _lateLogged = Never;
    private long _unmapFailures;
    private long _strandedBytes;
    private long _unexpectedErrors;

    /// <summary>Buffers that were disposed while operations or exposures held them.</summary>
    public long DeferredReturns => Volatile.Read(ref _deferredReturns);

    /// <summary>Buffers that came back after the pool was disposed.</summary>
    public long LateReturns => Volatile.Read(ref _lateReturns);

    /// <summary>How often memory could not be unmapped.</summary>
    public long UnmapFailures => Volatile.Read(ref _unmapFailures);

    /// <summary>Bytes that could not be deregistered or unmapped. They stay reserved below the cap.</summary>
    public long StrandedBytes => Volatile.Read(ref _strandedBytes);

    /// <summary>Errors that could not be reported to any caller.</summary>
    public long UnexpectedErrors => Volatile.Read(ref _unexpectedErrors);

    public void DeferredReturn(long blockSize, int holds, LeaseTracker? tracker)
    {
        long count = Interlocked.Increment(ref _deferredReturns);
        if (MayLog(ref _deferredLogged, tracker))
            Log.ReturnDeferred(settings.Logger, tracker?.Length ?? blockSize, settings.Name, OwnerOf(tracker), holds, count);
    }

    public void LateReturn(long blockSize, LeaseTracker? tracker)
    {
        long count = Interlocked.Increment(ref _lateReturns);
        if (MayLog(ref _lateLogged, tracker))
            Log.ReturnedLate(settings.Logger, tracker?.Length ?? blockSize, settings.Name, OwnerOf(tracker), count);
    }

    public void DeregistrationFailed(long length, Exception e)
    {
        Interlocked.Increment(ref counters.DeregistrationFailures);
        Interlocked.Add(ref _strandedBytes, length);
        Log.DeregistrationFailed(settings.Logger, settings.Name, length, e);
    }

    public void UnmapFailed(long length, Exception e)
    {
        Interlocked.Increment(ref _unmapFailures);
        long stranded = Interlocked.Add(ref _strandedBytes, length);
        Log.UnmapFailed(settings.Logger, settings.Name, length, stranded, e);
    }

    /// <summary>Runs a step whose failure must not keep the next ones from running, or a step that a timer starts.</summary>
    /// <param name="what">What it does, for the log.</param>
    /// <param name="work">The step that may fail.</param>
    public void Guard(string what, Action work)
    {
        try
        {
            work();
        }
        catch (Exception e)
        {
            // Exceptions of all types are caught: there is no caller, and on a timer's thread one would end the process.
            Interlocked.Increment(ref _unexpectedErrors);
            Log.UnexpectedError(settings.Logger, settings.Name, what, e);
        }
    }

    /// <summary>
    /// Guards the work of one of the pool's own threads, where no exception may end the process. Work that failed is
    /// tried again in a second, because others may wait for it.
    /// </summary>
    public Func<TimeSpan> Guarded(string what, Func<TimeSpan> work) => () =>
    {
        TimeSpan next = TimeSpan.FromSeconds(1);
        Guard(what, () => next = work());
        return next;
    };

    private static string OwnerOf(LeaseTracker? tracker) => tracker?.Owner ?? LeaseTracker.UnknownOwner;

    private bool MayLog(ref long last, LeaseTracker? tracker)
    {
        long now = settings.Time.GetTimestamp();
        long seen = Volatile.Read(ref last);
        bool isDue = seen == Never || settings.Time.GetElapsedTime(seen, now) >= LogInterval;
        return isDue && Interlocked.CompareExchange(ref last, now, seen) == seen || tracker is not null;
    }
}
