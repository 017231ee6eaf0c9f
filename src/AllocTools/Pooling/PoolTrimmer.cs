namespace AllocTools.Pooling;

/// <summary>Has a pool give back idle memory now and then. A pool that nobody holds any more is not kept alive by it.</summary>
internal sealed class PoolTrimmer : IDisposable
{
    private readonly WeakReference<PoolEngine> _engine;
    private readonly TimeSpan _retention;
    private readonly TimeProvider _time;
    private readonly ITimer? _timer;
    private int _runs;

    public PoolTrimmer(PoolEngine engine, TimeSpan interval, TimeSpan retention, TimeProvider time)
    {
        _engine = new WeakReference<PoolEngine>(engine);
        _retention = retention;
        _time = time;
        if (retention != Timeout.InfiniteTimeSpan && interval != Timeout.InfiniteTimeSpan)
            _timer = time.CreateTimer(static trimmer => ((PoolTrimmer)trimmer!).Run(), this, interval, interval);
    }

    public void Dispose() => _timer?.Dispose();

    private void Run()
    {
        if (!_engine.TryGetTarget(out PoolEngine? engine))
        {
            Dispose();
            return;
        }
        // A slow provider may take longer than the interval.
        if (Interlocked.Exchange(ref _runs, 1) != 0)
            return;
        engine.Trim(_time.GetTimestamp() - (long)(_retention.TotalSeconds * _time.TimestampFrequency));
        Volatile.Write(ref _runs, 0);
    }
}
