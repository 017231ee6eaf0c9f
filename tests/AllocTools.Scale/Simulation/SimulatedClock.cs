namespace AllocTools.Scale.Simulation;

/// <summary>A clock that only its caller moves, and that calls timers back on the thread that moves it.</summary>
/// <remarks>
/// Timers are in a queue by their time. FakeTimeProvider looks at all of its timers for each that comes due, so with 100,000
/// of them it is what would be measured.
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

    /// <summary>Moves the time, and calls back the timers that come due, in their order.</summary>
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
        /// <summary>The number of its present start; 0: it does not run.</summary>
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
