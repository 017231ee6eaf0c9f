namespace AllocTools.Scale.Simulation;

/// <summary>A clock that only its caller advances, and that calls timers back on the thread that advances it.</summary>
/// <remarks>
/// Timers are queued by their time. FakeTimeProvider goes through all of its timers for each one that is due, so with
/// 100,000 timers it would dominate the measurement.
/// </remarks>
internal sealed class SimulatedClock : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly PriorityQueue<(Timer Timer, long Start), long> _due = new();
    private long _now = DateTime.UnixEpoch.AddYears(50).Ticks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Volatile.Read(ref _now);

    public override DateTimeOffset GetUtcNow() => new(GetTimestamp(), TimeSpan.Zero);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Advances the time, and calls back the timers that are due, in their order.</summary>
    public void Advance(TimeSpan time)
    {
        long end = GetTimestamp() + time.Ticks;
        while (TryTake(end) is { } timer)
            timer.Run();
        Volatile.Write(ref _now, end);
    }

    private Timer? TryTake(long end)
    {
        lock (_gate)
        {
            while (_due.TryPeek(out (Timer Timer, long Start) next, out long at) && at <= end)
            {
                _due.Dequeue();
                if (next.Timer.Start != next.Start)
                    continue;
                Volatile.Write(ref _now, Math.Max(_now, at));
                next.Timer.Start = next.Timer.Period == Timeout.InfiniteTimeSpan ? 0 : Enqueue_NeedsLock(next.Timer, next.Timer.Period);
                return next.Timer;
            }
            return null;
        }
    }

    private long _starts;

    private long Enqueue_NeedsLock(Timer timer, TimeSpan after)
    {
        long start = ++_starts;
        _due.Enqueue((timer, start), _now + after.Ticks);
        return start;
    }

    private sealed class Timer(SimulatedClock clock, TimerCallback callback, object? state) : ITimer
    {
        /// <summary>Gets or sets the number of its current start; 0 if it is not running.</summary>
        public long Start { get; set; }

        public TimeSpan Period { get; private set; }

        public void Run() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (clock._gate)
            {
                Period = period;
                Start = dueTime == Timeout.InfiniteTimeSpan ? 0 : clock.Enqueue_NeedsLock(this, dueTime);
                return true;
            }
        }

        public void Dispose()
        {
            lock (clock._gate)
                Start = 0;
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
