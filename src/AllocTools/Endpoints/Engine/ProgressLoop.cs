using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>The endpoint's own thread: makes progress, spins for a while, then waits.</summary>
/// <remarks>
/// It waits on the completion queue's descriptor where the provider has one, and else in pauses: of a sixteenth of the time
/// that nothing has happened, up to 1 ms, and of a hundredth of it later, up to <see cref="RmaEndpointOptions.LongestPause"/>.
/// So the first message after an hour comes late by that option, one after a second by 10 ms at the most, and an
/// endpoint that is idle costs next to nothing.
/// While somebody who awaits makes progress (<see cref="AwaitHelp"/>) it keeps out of the way: it stands by, in pauses, and looks
/// whether that is still so. So an operation that is started wakes it only where it would come too late otherwise: where the
/// operation waits to be posted, where its deadline comes first, or where the thread has gone to sleep for long. Whoever
/// suspends wakes it where it does not look at the queue. No wake-up is lost: the thread says that it waits, passes a fence, and
/// looks once more before it does.
/// </remarks>
internal sealed class ProgressLoop : IDisposable
{
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMicroseconds(20);

    /// <summary>The longest of the pauses that grow as a sixteenth of the time that nothing has happened.</summary>
    private static readonly TimeSpan EarlyPause = TimeSpan.FromMilliseconds(1);

    /// <summary>How long it stands by, at the most, while somebody else makes progress. So late are operations served that nobody awaits.</summary>
    private static readonly TimeSpan StandByTime = TimeSpan.FromMilliseconds(1);

    /// <summary>The same where somebody has suspended: he is served so late at the most once the other one is gone.</summary>
    private static readonly TimeSpan ShortStandByTime = TimeSpan.FromMicroseconds(100);

    /// <summary>What <see cref="_waitsUntil"/> says while the thread is awake.</summary>
    private const long Awake = long.MinValue;

    /// <summary>What <see cref="_waitsUntil"/> says while the thread sleeps for so long that any operation wakes it.</summary>
    private const long Asleep = long.MaxValue;

    /// <summary>How long it waits for the descriptor at first, and at the most: a quarter of the time that nothing has happened.</summary>
    private static readonly TimeSpan FirstWait = TimeSpan.FromMilliseconds(100);

    /// <inheritdoc cref="FirstWait"/>
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(5);

    /// <summary>How often in a row the descriptor may be ready for nothing before the queue's signal is taken for one that stays.</summary>
    private const int MostEmptyWakes = 2;

    private readonly EndpointProgress _progress;
    private readonly AwaitHelp? _help;
    private readonly Action<Exception> _fail;
    private readonly EndpointHealth _health;
    private readonly RmaEndpointDriver _driver;
    private readonly TimeSpan _spinTime;
    private volatile bool _runsInline;
    private readonly TimeSpan _longestPause;
    private readonly TimeProvider _time;
    private readonly Lock _wakeGate = new();
    private readonly IWaker _waker;
    private readonly StuckTurnWatch _watch;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread _thread;
    private volatile bool _stopping;
    private long _waitsUntil = Awake;
    private bool _isPaused;
    private int _isNeeded;
    private bool _canWaitForCompletions;
    private int _emptyWakes;
    private bool _disposed;

    public ProgressLoop(EndpointProgress progress, AwaitHelp? help, Action<Exception> fail, EndpointHealth health, RmaEndpointDriver driver, RmaEndpointOptions options)
    {
        _progress = progress;
        _help = help;
        _fail = fail;
        _health = health;
        _driver = driver;
        // With one processor, spinning keeps the peer or the kernel from running.
        _spinTime = Environment.ProcessorCount == 1 ? TimeSpan.Zero : options.SpinTime;
        _longestPause = options.LongestPause;
        _runsInline = options.Continuations == RmaContinuations.Inline;
        _time = health.Time;
        _canWaitForCompletions = driver.WaitDescriptor >= 0;
        _waker = driver.CreateWaker() ?? (DescriptorWait.IsSupported ? new DescriptorWaker(driver.WaitDescriptor) : new EventWaker());
        _watch = new StuckTurnWatch(progress, health, driver.ExplainStuckCall);
        _thread = new Thread(Run) { IsBackground = true, Name = "AllocTools progress" };
        _thread.UnsafeStart();
    }

    /// <summary>From here on what has ended goes on on this thread, which need not make room for others.</summary>
    public void RunInline() => _runsInline = true;

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

    /// <summary>Wakes the thread where it waits: there is work for it.</summary>
    public void WakeIfWaiting()
    {
        Volatile.Write(ref _isNeeded, 1);
        Fence.Full();
        if (Volatile.Read(ref _waitsUntil) != Awake)
            Wake();
    }

    /// <summary>Wakes the thread where it sleeps for long, or past a deadline that has been noted.</summary>
    public void WakeIfWaitingPast(long deadline)
    {
        Fence.Full();
        if (deadline <= Volatile.Read(ref _waitsUntil))
            Wake();
    }

    /// <summary>Wakes the thread where it waits and does not look at the queue meanwhile, or sleeps for long.</summary>
    public void WakeIfPaused()
    {
        Fence.Full();
        long until = Volatile.Read(ref _waitsUntil);
        if (until == Asleep || (until != Awake && Volatile.Read(ref _isPaused)))
            Wake();
    }

    /// <summary>The thread has ended: it makes no call into the transport any more.</summary>
    public Task Ended => _ended.Task;

    /// <summary>
    /// The endpoint is disposed by what goes on after an await on this very thread (<see cref="RmaContinuations.Inline"/>), outside of a
    /// turn: nothing waits for the thread, which makes no call any more.
    /// </summary>
    public void LeaveIfCurrent()
    {
        // Inside a turn it is in the driver, which has to come back first.
        if (Thread.CurrentThread != _thread || InlineContinuation.IsInTurn)
            return;
        _stopping = true;
        _ended.TrySetResult();
    }

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
            long last = _time.GetTimestamp();
            bool spins = true;
            // Somebody else may have found that progress is impossible.
            while (!_stopping && _progress.Failure is null)
            {
                if (spins && Spin())
                    _emptyWakes = 0;
                if (_stopping)
                    break;
                spins = Wait(ref last);
                if (spins)
                    last = _time.GetTimestamp();
            }
        }
        catch (Exception e)
        {
            // Whatever it is: the operations' owners get it, and a thread's exception would end the process.
            _fail(e);
        }
        finally
        {
            _ended.TrySetResult();
        }
    }

    private bool Spin()
    {
        long last = _time.GetTimestamp();
        bool any = false;
        _waker.Listen();
        do
        {
            // Beside an await that makes progress it would take the turn and a processor from it.
            if (_stopping || _help is { IsRunning: true })
                return any;
            if (_progress.TryRun())
            {
                any = true;
                last = _time.GetTimestamp();
                continue;
            }
            // What has ended goes on on another thread, which may wait for this very processor. Not in the midst of many: they would take 2 to 4 times as long.
            if (!_runsInline)
                Thread.Yield();
        }
        while (!_stopping && (_time.GetElapsedTime(last) < _spinTime || HasRung(ref last)));
        return any;
    }

    /// <summary>What peers write makes no completion here; whether spinning was of use, the bell says.</summary>
    private bool HasRung(ref long last)
    {
        if (!_waker.HasRung)
            return false;
        _waker.Listen();
        last = _time.GetTimestamp();
        return true;
    }

    /// <param name="last">When something has happened, or the thread was woken, last.</param>
    /// <returns>True where something has happened, or is expected right now.</returns>
    private bool Wait(ref long last)
    {
        Volatile.Write(ref _isPaused, true);
        // Whoever needs the thread from here on wakes it.
        Volatile.Write(ref _waitsUntil, Asleep);
        Volatile.Write(ref _isNeeded, 0);
        _waker.Prepare();
        Fence.Full();
        try
        {
            if (_help is { IsRunning: true } && !_stopping && !_progress.Dispatch.HasRetries)
                return StandBy(_help, ref last);
            if (_progress.TryRun())
                _emptyWakes = 0;
            else if (!_stopping)
                return WaitForSomething(ref last);
            return true;
        }
        finally
        {
            Volatile.Write(ref _waitsUntil, Awake);
        }
    }

    /// <summary>Leaves progress to those who await for as long as they go on. Then it makes a turn: one may have been without a processor.</summary>
    private bool StandBy(AwaitHelp help, ref long last)
    {
        WaitEnd end;
        int count;
        do
        {
            count = help.Count;
            last = _time.GetTimestamp();
            end = Wait(last, help.HasSuspended ? ShortStandByTime : StandByTime, forCompletions: false);
        }
        while (end == WaitEnd.TimedOut && help.Count != count && !help.HasSuspended && !_stopping && !_progress.Dispatch.HasRetries);
        if (end == WaitEnd.TimedOut)
            return _progress.TryRun();
        return end == WaitEnd.Woken && Volatile.Read(ref _isNeeded) != 0;
    }

    private bool WaitForSomething(ref long last)
    {
        // What waits to be posted needs turns, whatever the queue says.
        bool hasRetries = _progress.Dispatch.HasRetries;
        bool forCompletions = _canWaitForCompletions && !hasRetries;
        if (forCompletions && _emptyWakes >= MostEmptyWakes)
        {
            _emptyWakes = 0;
            return _progress.TryRun(clearSignal: true);
        }
        string? reason = null;
        RmaWaitState state = forCompletions ? _driver.PrepareToWait(out reason) : RmaWaitState.Ready;
        if (state == RmaWaitState.ReadFirst)
            return true;
        if (state == RmaWaitState.Broken)
            forCompletions = StopWaitingForCompletions(reason ?? "the transport refuses");
        long now = _time.GetTimestamp();
        TimeSpan idle = _time.GetElapsedTime(last, now);
        TimeSpan longest = forCompletions || (_driver.WakesForCompletions && !hasRetries) ? WithOthers(Max(FirstWait, idle / 4), LongestWait, now)
            : hasRetries ? Min(Pause(idle), EarlyPause)
            : WithOthers(Pause(idle), _longestPause, now);
        WaitEnd end = Wait(now, longest, forCompletions);
        if (end == WaitEnd.Broken)
            StopWaitingForCompletions("ppoll finds an error on the completion queue's descriptor");
        _emptyWakes = end == WaitEnd.Ready ? _emptyWakes + 1 : 0;
        if (end != WaitEnd.Woken)
            return end != WaitEnd.TimedOut;
        last = _time.GetTimestamp();
        // Whoever has suspended has spun before: the thread does not once more.
        return Volatile.Read(ref _isNeeded) != 0;
    }

    private static TimeSpan Pause(TimeSpan idle) => Max(ShortestPause, Max(Min(idle / 16, EarlyPause), idle / 100));

    /// <summary>
    /// A wait, and in place of the longest one until the next multiple of it: there the threads of all idle endpoints end theirs, so that one
    /// interrupt of the processor's timer wakes them all. Each at a time of its own costs several times as much.
    /// </summary>
    private TimeSpan WithOthers(TimeSpan wait, TimeSpan longest, long now)
    {
        if (wait < longest)
            return wait;
        long period = Math.Max(1, (long)(longest.TotalSeconds * _time.TimestampFrequency));
        return Max(ShortestPause, _time.GetElapsedTime(now, (now / period + 1) * period));
    }

    /// <summary>Waits, and says until when and for what: an operation that can't wait for that wakes the thread.</summary>
    private WaitEnd Wait(long now, TimeSpan longest, bool forCompletions)
    {
        if (longest <= (forCompletions ? FirstWait : EarlyPause))
        {
            Volatile.Write(ref _isPaused, !forCompletions);
            Volatile.Write(ref _waitsUntil, now + (long)(longest.TotalSeconds * _time.TimestampFrequency));
            // Whoever suspends, and whoever notes a deadline, has read what was said before, and woken the thread, or is seen here.
            Fence.Full();
        }
        return _waker.Wait(Min(longest, UntilDeadline()), forCompletions);
    }

    /// <summary>From here on the queue is read in pauses.</summary>
    private bool StopWaitingForCompletions(string why)
    {
        Log.WaitingFailed(_health.Logger, _health.Provider, why, _longestPause.TotalMilliseconds);
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
        return Max(ShortestPause, _time.GetElapsedTime(now, next));
    }

    private static TimeSpan Max(TimeSpan left, TimeSpan right) => left > right ? left : right;

    private static TimeSpan Min(TimeSpan left, TimeSpan right) => left < right ? left : right;
}
