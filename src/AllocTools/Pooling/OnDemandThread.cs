namespace AllocTools.Pooling;

/// <summary>A thread that works when it is asked to, or when the time has come that it gave itself. It ends when it had nothing to do for a while.</summary>
/// <remarks>For what must go on where blocked callers hold all threads of the thread pool.</remarks>
/// <param name="name">The thread's name.</param>
/// <param name="work">Returns when it is to be called again, if nobody asks before; infinite: only then. Throws nothing.</param>
internal sealed class OnDemandThread(string name, Func<TimeSpan> work)
{
    private static readonly TimeSpan LongestWait = TimeSpan.FromDays(1);

    // Waited on, so no Lock.
    private readonly object _gate = new();
    private TimeSpan _linger = TimeSpan.FromSeconds(10);
    private bool _isSignalled;
    private bool _isWorking;
    private bool _runs;

    /// <summary>It works, or is about to.</summary>
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
            // The system has no thread left: one of the thread pool does it.
            ThreadPool.UnsafeQueueUserWorkItem(static thread => thread.Run(), this, preferLocal: false);
        }
    }

    /// <summary>It ends as soon as it has nothing to do.</summary>
    public void End()
    {
        lock (_gate)
        {
            _linger = TimeSpan.Zero;
            Monitor.Pulse(_gate);
        }
    }

    private void Run()
    {
        TimeSpan next = TimeSpan.Zero;
        while (IsToWork(next))
            next = work();
    }

    /// <summary>Waits for the time, or for somebody who asks. False: the thread ends.</summary>
    private bool IsToWork(TimeSpan next)
    {
        lock (_gate)
        {
            _isWorking = false;
            if (!_isSignalled && next != TimeSpan.Zero)
            {
                bool isIdle = next == Timeout.InfiniteTimeSpan;
                // A wait is of whole milliseconds, and must not end before its time.
                TimeSpan wait = isIdle ? _linger : TimeSpan.FromMilliseconds(Math.Ceiling(Math.Min(next.TotalMilliseconds, LongestWait.TotalMilliseconds)));
                Monitor.Wait(_gate, wait);
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
