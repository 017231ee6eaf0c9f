using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>The endpoint's own thread: makes progress, spins for a while, then waits.</summary>
/// <remarks>
/// It waits on the completion queue's descriptor where the provider has one, and else in pauses that grow to
/// <see cref="LongestPause"/>; in both cases an operation that is started wakes it. No wake-up is lost: it says that it
/// waits, passes a fence, and looks at the queue once more before it does.
/// </remarks>
internal sealed class ProgressLoop : IDisposable
{
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMicroseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(1);

    /// <summary>How often it looks even if nothing wakes it.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(100);

    private readonly EndpointProgress _progress;
    private readonly Action<RmaException> _fail;
    private readonly LibfabricContext _context;
    private readonly LibfabricEndpointResources _resources;
    private readonly TimeSpan _spinTime;
    private readonly TimeProvider _time;
    private readonly Lock _wakeGate = new();
    private readonly IWaker _waker;
    private readonly StuckTurnWatch _watch;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread _thread;
    private volatile bool _stopping;
    private int _waiting;
    private bool _canWaitForCompletions;
    private bool _disposed;

    public ProgressLoop(EndpointProgress progress, Action<RmaException> fail, LibfabricContext context, LibfabricEndpointResources resources, TimeSpan spinTime, TimeProvider time)
    {
        _progress = progress;
        _fail = fail;
        _context = context;
        _resources = resources;
        // With one processor, spinning keeps the peer or the kernel from running.
        _spinTime = Environment.ProcessorCount == 1 ? TimeSpan.Zero : spinTime;
        _time = time;
        _canWaitForCompletions = resources.WaitDescriptor >= 0;
        _waker = DescriptorWait.IsSupported ? new DescriptorWaker(resources.WaitDescriptor) : new EventWaker();
        _watch = new StuckTurnWatch(progress, context, time);
        _thread = new Thread(Run) { IsBackground = true, Name = "AllocTools progress" };
        _thread.Start();
    }

    /// <summary>A call of the thread into the transport does not return.</summary>
    public bool IsStuck => _watch.IsStuck;

    /// <summary>Wakes the thread, now or when it would wait next. After <see cref="Dispose"/> it does nothing: a cancellation may come as late as that.</summary>
    public void Wake()
    {
        // The waker's descriptor must not be written to once it is closed: the number may be another file's by then.
        lock (_wakeGate)
        {
            if (!_disposed)
                _waker.Wake();
        }
    }

    /// <summary>Wakes the thread where it waits.</summary>
    public void WakeIfWaiting()
    {
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _waiting) != 0)
            Wake();
    }

    /// <summary>The thread has ended: it makes no call into the transport any more.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Ends the thread, after its current turn.</summary>
    /// <param name="limit">How long to wait for that.</param>
    /// <returns>False where that turn is stuck in the transport; see <see cref="Ended"/>.</returns>
    public bool TryStop(TimeSpan limit)
    {
        _stopping = true;
        Wake();
        bool ended = Ended.Wait(limit);
        _watch.Dispose();
        return ended;
    }

    /// <summary>After the thread has ended.</summary>
    public void Dispose()
    {
        _watch.Settle();
        lock (_wakeGate)
        {
            _disposed = true;
            _waker.Dispose();
        }
    }

    private void Run()
    {
        try
        {
            TimeSpan pause = ShortestPause;
            while (!_stopping)
            {
                if (Spin())
                    pause = ShortestPause;
                else
                    pause = Wait(pause);
            }
        }
        catch (Exception e)
        {
            // Whatever it is: who awaits an operation is told, and a thread's exception would end the process.
            Log.ProgressFailed(_context.Logger, _context.Traits.ProviderName, e);
            RmaException failure = e as RmaException ?? new RmaException($"The progress loop ended: {e.Message}", innerException: e);
            _context.ReportFailure(failure);
            _fail(failure);
        }
        finally
        {
            _ended.SetResult();
        }
    }

    private bool Spin()
    {
        long last = _time.GetTimestamp();
        bool any = false;
        do
        {
            if (_stopping)
                return any;
            if (_progress.TryRun())
            {
                any = true;
                last = _time.GetTimestamp();
            }
        }
        while (_time.GetElapsedTime(last) < _spinTime);
        return any;
    }

    private TimeSpan Wait(TimeSpan pause)
    {
        Volatile.Write(ref _waiting, 1);
        Interlocked.MemoryBarrier();
        try
        {
            if (_progress.TryRun() || _stopping)
                return ShortestPause;
            // What waits to be posted needs turns, whatever the queue says.
            bool forCompletions = _canWaitForCompletions && !_progress.Dispatch.HasRetries;
            int status = forCompletions ? _context.Fabric.TryWait(_resources.Queue) : 0;
            if (status == -FiErrno.FI_EAGAIN)
                return ShortestPause;
            if (status != 0)
                forCompletions = StopWaitingForCompletions($"fi_trywait failed with {FiErrno.NameOf(status)}");
            if (!_waker.Wait(Min(forCompletions ? LongestWait : pause, UntilDeadline()), forCompletions))
                StopWaitingForCompletions("ppoll finds an error on the completion queue's descriptor");
            return Min(pause * 2, LongestPause);
        }
        finally
        {
            Volatile.Write(ref _waiting, 0);
        }
    }

    /// <summary>From here on the queue is read in pauses.</summary>
    private bool StopWaitingForCompletions(string why)
    {
        Log.WaitingFailed(_context.Logger, _context.Traits.ProviderName, why, LongestPause.TotalMilliseconds);
        return _canWaitForCompletions = false;
    }

    private TimeSpan UntilDeadline()
    {
        long next = _progress.NextDeadline;
        if (next == long.MaxValue)
            return LongestWait;
        long now = _time.GetTimestamp();
        if (next <= now)
            return ShortestPause;
        TimeSpan left = _time.GetElapsedTime(now, next);
        return left > ShortestPause ? left : ShortestPause;
    }

    private static TimeSpan Min(TimeSpan left, TimeSpan right) => left < right ? left : right;
}
