namespace AllocTools.Pooling;

/// <summary>A thread that works when it is asked to, or at the time that it has set itself. It ends when it has had nothing to do for a while.</summary>
/// <remarks>It is for work that must go on even if blocked callers hold all threads of the thread pool.</remarks>
/// <param name="name">The thread's name.</param>
/// <param name="work">Returns the time after which it must be called again unless it is asked to before; infinite: only when it is asked. It may be called sooner. It must not throw.</param>
internal sealed class OnDemandThread(string name, Func<TimeSpan> work)
{
    // A plain object, because Monitor.Wait does not work with a Lock.
    private readonly object _gate = new();
    private bool _isEnded;
    private bool _isSignalled;
    private bool _isWorking;
    private bool _runs;

    /// <summary>
    /// How long the thread stays when it has nothing to do, and how long it sleeps at a time, because the reason to wake up
    /// may be gone by then. At least 1 ms.
    /// </summary>
    public TimeSpan Linger { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Whether it works, or is about to.</summary>
    public bool IsBusy
    {
        get
        {
            lock (_gate)
                return _isSignalled || _isWorking;
        }
    }

    /// <summary>Asks for work.</summary>
    public void Signal()
    {
        lock (_gate)
        {
            _isSignalled = true;
            Monitor.Pulse(_gate);
            if (_runs)
                return;
            _runs = true;
        }
        try
        {
            new Thread(Run) { IsBackground = true, Name = name }.UnsafeStart();
        }
        catch (OutOfMemoryException)
        {
            // The system has no thread left, so a thread of the thread pool does the work.
            ThreadPool.UnsafeQueueUserWorkItem(static thread => thread.Run(), this, preferLocal: false);
        }
    }

    /// <summary>Lets the thread end as soon as it has nothing to do.</summary>
    public void End()
    {
        lock (_gate)
        {
            _isEnded = true;
            Monitor.Pulse(_gate);
        }
    }

    private void Run()
    {
        TimeSpan next = TimeSpan.Zero;
        while (IsToWork(next))
            next = work();
    }

    /// <summary>Waits until the time has come or work is asked for. Returns false if the thread is to end.</summary>
    private bool IsToWork(TimeSpan next)
    {
        lock (_gate)
        {
            _isWorking = false;
            if (!_isSignalled && next != TimeSpan.Zero)
            {
                bool isIdle = next == Timeout.InfiniteTimeSpan;
                // A wait lasts whole milliseconds, and must not end before its time.
                double wait = isIdle && _isEnded ? 0 : isIdle ? Linger.TotalMilliseconds : Math.Min(next.TotalMilliseconds, Linger.TotalMilliseconds);
                Monitor.Wait(_gate, TimeSpan.FromMilliseconds(Math.Ceiling(wait)));
                if (isIdle && !_isSignalled)
                {
                    _runs = false;
                    return false;
                }
            }
            _isSignalled = false;
            _isWorking = true;
            return true;
        }
    }
}
