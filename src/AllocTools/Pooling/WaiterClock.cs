namespace AllocTools.Pooling;

/// <summary>Ends waits whose time is up.</summary>
/// <remarks>
/// It has a thread of its own, because the system's timers call back on the thread pool, and blocked callers may hold
/// all threads of that. The thread checks at least every 10 s whether a time-out is left. Another clock (a test's)
/// calls back without it.
/// </remarks>
internal sealed class WaiterClock
{
    private readonly TimeProvider _time;
    private readonly Lock _gate;
    private readonly Action<Waiter> _expire;
    private readonly LinkedList<Waiter> _byDeadline = new();
    private readonly OnDemandThread? _thread;

    // When the thread looks next. That deadline may be gone by then, and a new deadline that is later need not wake the thread.
    private long _looksAt = long.MaxValue;

    /// <param name="settings">The pool's clock and name.</param>
    /// <param name="incidents">Receives failures on the thread.</param>
    /// <param name="gate">The lock of the lines.</param>
    /// <param name="expire">Ends a wait, if it has not ended.</param>
    public WaiterClock(PoolSettings settings, PoolIncidents incidents, Lock gate, Action<Waiter> expire)
    {
        _time = settings.Time;
        _gate = gate;
        _expire = expire;
        if (_time == TimeProvider.System)
            _thread = new OnDemandThread($"{settings.Name} time-outs", incidents.Guarded("timing waiters out", ExpireOverdue));
    }

    /// <summary>Makes the wait end in time. The waiter must be in the queue.</summary>
    public void Add(Waiter waiter)
    {
        if (waiter.Timeout == Timeout.InfiniteTimeSpan)
            return;
        if (_thread is null)
        {
            AddTimer(waiter);
            return;
        }
        bool wakes;
        lock (_gate)
            wakes = waiter.Place.List is not null && AddDeadline_NeedsLock(waiter);
        if (wakes)
            _thread.Signal();
    }

    /// <summary>Ends the timing of a waiter whose wait has ended.</summary>
    public static void Remove_NeedsLock(Waiter waiter) => waiter.PlaceInTime.List?.Remove(waiter.PlaceInTime);

    /// <summary>Ends the clock, because no more requests will wait.</summary>
    public void Close() => _thread?.End();

    private void AddTimer(Waiter waiter)
    {
        ITimer timer = _time.CreateTimer(late => _expire((Waiter)late!), waiter, waiter.Timeout, Timeout.InfiniteTimeSpan);
        lock (_gate)
        {
            if (waiter.Place.List is not null)
            {
                waiter.Timer = timer;
                return;
            }
        }
        timer.Dispose();
    }

    /// <summary>Fails the waiters whose time is up.</summary>
    /// <returns>The time until the next deadline.</returns>
    private TimeSpan ExpireOverdue()
    {
        while (true)
        {
            Waiter first;
            lock (_gate)
            {
                _looksAt = long.MaxValue;
                if (_byDeadline.First is not { } earliest)
                    return Timeout.InfiniteTimeSpan;
                first = earliest.Value;
                long now = _time.GetTimestamp();
                if (first.Deadline > now)
                {
                    _looksAt = first.Deadline;
                    return _time.GetElapsedTime(now, first.Deadline);
                }
            }
            _expire(first);
        }
    }

    /// <summary>Inserts a deadline. Nearly all waiters wait for the same time, so a new deadline is usually the last.</summary>
    /// <returns>True if the thread would look too late.</returns>
    private bool AddDeadline_NeedsLock(Waiter waiter)
    {
        waiter.Deadline = waiter.Since + (long)(waiter.Timeout.TotalSeconds * _time.TimestampFrequency);
        LinkedListNode<Waiter>? before = _byDeadline.Last;
        while (before is not null && before.Value.Deadline > waiter.Deadline)
            before = before.Previous;
        if (before is null)
            _byDeadline.AddFirst(waiter.PlaceInTime);
        else
            _byDeadline.AddAfter(before, waiter.PlaceInTime);
        if (waiter.Deadline >= _looksAt)
            return false;
        _looksAt = waiter.Deadline;
        return true;
    }
}
