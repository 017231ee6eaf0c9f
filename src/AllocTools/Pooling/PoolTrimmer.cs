namespace AllocTools.Pooling;

/// <summary>Makes a pool give back idle memory regularly. It does not keep a pool alive that nothing else refers to.</summary>
internal sealed class PoolTrimmer : IDisposable
{
    private readonly WeakReference<SlabOwners> _owners;
    private readonly WeakReference<PoolIncidents> _incidents;
    private readonly TimeProvider _time;
    private readonly ITimer _timer;
    private long _retentionTicks;

    // Held during a run.
    private readonly Lock _running = new();

    public PoolTrimmer(SlabOwners owners, PoolIncidents incidents, TimeSpan interval, TimeSpan retention, TimeProvider time)
    {
        _owners = new WeakReference<SlabOwners>(owners);
        _incidents = new WeakReference<PoolIncidents>(incidents);
        _time = time;
        _timer = time.CreateTimer(static trimmer => ((PoolTrimmer)trimmer!).Run(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        Change(interval, retention);
    }

    /// <summary>Sets how often idle memory is looked for and how long it is kept; if either is infinite, trimming ends.</summary>
    public void Change(TimeSpan interval, TimeSpan retention)
    {
        Volatile.Write(ref _retentionTicks, retention.Ticks);
        TimeSpan period = retention == Timeout.InfiniteTimeSpan ? Timeout.InfiniteTimeSpan : interval;
        _timer.Change(period, period);
    }

    /// <summary>Ends the trimming, and waits for a run under way, because nothing else gives back what the run has taken off its shelf.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        lock (_running)
        {
            // Taking the lock is the wait.
        }
    }

    private void Run()
    {
        if (!_owners.TryGetTarget(out SlabOwners? owners) || !_incidents.TryGetTarget(out PoolIncidents? incidents))
        {
            Dispose();
            return;
        }
        // A slow provider may take longer than the interval.
        if (!_running.TryEnter())
            return;
        try
        {
            long idleSince = _time.GetTimestamp() - (long)(TimeSpan.FromTicks(Volatile.Read(ref _retentionTicks)).TotalSeconds * _time.TimestampFrequency);
            incidents.Guard("trimming", () => owners.Trim(idleSince));
        }
        finally
        {
            _running.Exit();
        }
    }
}
