using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>The endpoint's own thread: makes progress, spins for a while, then waits.</summary>
/// <remarks>
/// The thread waits on the completion queue's descriptor if the provider has one. Otherwise it polls with pauses: a
/// sixteenth of the idle time, up to 1 ms, and later a hundredth of it, up to
/// <see cref="RmaEndpointOptions.LongestPause"/>. So the first message after an hour is late by at most that option, one
/// after a second by at most 10 ms, and an idle endpoint costs next to nothing.
/// While an await makes progress (<see cref="AwaitHelp"/>), the thread stands by, and checks periodically whether that
/// is still the case. Starting an operation therefore wakes the thread only if it would be too late otherwise: if the
/// operation waits to be posted, if its deadline is earlier, or if the thread is in a long sleep. An await that suspends
/// wakes the thread if it does not watch the queue. No wake-up is lost: the thread announces that it waits, passes a
/// fence, and checks once more before it waits.
/// </remarks>
internal sealed class ProgressLoop : IDisposable
{
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMicroseconds(20);

    /// <summary>The longest pause that is a sixteenth of the idle time.</summary>
    private static readonly TimeSpan EarlyPause = TimeSpan.FromMilliseconds(1);

    /// <summary>
    /// The longest stand-by while another thread makes progress. Operations that are not awaited are served late by up
    /// to this time.
    /// </summary>
    private static readonly TimeSpan StandByTime = TimeSpan.FromMilliseconds(1);

    /// <summary>
    /// The longest stand-by if an await has suspended: it is served late by at most this time once the other await has
    /// ended.
    /// </summary>
    private static readonly TimeSpan ShortStandByTime = TimeSpan.FromMicroseconds(100);

    /// <summary>The value of <see cref="_waitsUntil"/> while the thread is awake.</summary>
    private const long Awake = long.MinValue;

    /// <summary>The value of <see cref="_waitsUntil"/> while the thread is in a sleep so long that any operation wakes it.</summary>
    private const long Asleep = long.MaxValue;

    /// <summary>The first and the longest wait for the descriptor, which is a quarter of the idle time.</summary>
    private static readonly TimeSpan FirstWait = TimeSpan.FromMilliseconds(100);

    /// <inheritdoc cref="FirstWait"/>
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How many times in a row the descriptor may be readable without a completion before the queue's signal counts as
    /// permanently set.
    /// </summary>
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

    /// <summary>Makes continuations run on this thread from now on, so that it need not yield to others.</summary>
    public void RunInline() => _runsInline = true;

    /// <summary>Whether a call of the thread into the transport does not return.</summary>
    public bool IsStuck => _watch.IsStuck;

    /// <summary>
    /// Wakes the thread, now or when it would wait next. Does nothing after <see cref="Dispose"/>, because a cancellation
    /// may arrive that late.
    /// </summary>
    public void Wake()
    {
        // The waker's descriptor must not be written to once it is closed, because its number may belong to another file by then.
        lock (_wakeGate)
        {
            if (!_disposed)
                _waker.Wake();
        }
    }

    /// <summary>Wakes the thread if it waits, because there is work for it.</summary>
    public void WakeIfWaiting()
    {
        Volatile.Write(ref _isNeeded, 1);
        Fence.Full();
        if (Volatile.Read(ref _waitsUntil) != Awake)
            Wake();
    }

    /// <summary>Wakes the thread if it is in a long sleep, or would sleep past a deadline that has been noted.</summary>
    public void WakeIfWaitingPast(long deadline)
    {
        Fence.Full();
        if (deadline <= Volatile.Read(ref _waitsUntil))
            Wake();
    }

    /// <summary>Wakes the thread if it waits without watching the queue, or is in a long sleep.</summary>
    public void WakeIfPaused()
    {
        Fence.Full();
        long until = Volatile.Read(ref _waitsUntil);
        if (until == Asleep || (until != Awake && Volatile.Read(ref _isPaused)))
            Wake();
    }

    /// <summary>Whether the thread has ended, and makes no more calls into the transport.</summary>
    public Task Ended => _ended.Task;

    /// <summary>
    /// Called when the endpoint is disposed. If a continuation on this thread (<see cref="RmaContinuations.Inline"/>) does
    /// that outside a turn, nothing waits for the thread, which makes no more calls.
    /// </summary>
    public void LeaveIfCurrent()
    {
        // Inside a turn, the thread is in the driver, which has to return first.
        if (Thread.CurrentThread != _thread || InlineContinuation.IsInTurn)
            return;
        _stopping = true;
        _ended.TrySetResult();
    }

    /// <summary>Ends the thread, after its current turn.</summary>
    /// <param name="limit">How long to wait for that.</param>
    /// <returns>False if that turn is stuck in the transport; see <see cref="Ended"/>.</returns>
    public bool TryStop(TimeSpan limit)
    {
        _stopping = true;
        Wake();
        bool ended = Ended.Wait(limit);
        _watch.Dispose();
        return ended;
    }

    /// <summary>Releases the resources after the thread has ended.</summary>
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
            // Another thread may have found that progress is impossible.
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
            // All exceptions are caught: they are passed to the operations' owners, and would end the process otherwise.
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
            // Otherwise the thread would take the turn and a processor from an await that makes progress.
            if (_stopping || _help is { IsRunning: true })
                return any;
            if (_progress.TryRun())
            {
                any = true;
                last = _time.GetTimestamp();
                continue;
            }
            // Continuations run on another thread, which may wait for this processor. The thread does not yield between
            // many completions, because they would take 2 to 4 times as long.
            if (!_runsInline)
                Thread.Yield();
        }
        while (!_stopping && (_time.GetElapsedTime(last) < _spinTime || HasRung(ref last)));
        return any;
    }

    /// <summary>Whether a peer has rung the bell. Peers' writes cause no completion here, so only the bell shows that spinning was useful.</summary>
    private bool HasRung(ref long last)
    {
        if (!_waker.HasRung)
            return false;
        _waker.Listen();
        last = _time.GetTimestamp();
        return true;
    }

    /// <param name="last">The time of the last event or wake-up.</param>
    /// <returns>True if an event has happened, or is expected right now.</returns>
    private bool Wait(ref long last)
    {
        Volatile.Write(ref _isPaused, true);
        // A thread that needs this one from here on wakes it.
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

    /// <summary>Leaves progress to awaits as long as they make it. Then makes a turn, because an await may have lost its processor.</summary>
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
        // Operations that wait to be posted need turns, whatever the state of the queue.
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
        // An await that has suspended has already spun, so the thread does not spin again.
        return Volatile.Read(ref _isNeeded) != 0;
    }

    private static TimeSpan Pause(TimeSpan idle) => Max(ShortestPause, Max(Min(idle / 16, EarlyPause), idle / 100));

    /// <summary>
    /// Returns the length of a wait. The longest wait ends at the next multiple of its length. There the threads of all idle
    /// endpoints end theirs, so that one timer interrupt of the processor wakes them all. Separate times cost several times
    /// as much.
    /// </summary>
    private TimeSpan WithOthers(TimeSpan wait, TimeSpan longest, long now)
    {
        if (wait < longest)
            return wait;
        long period = Math.Max(1, (long)(longest.TotalSeconds * _time.TimestampFrequency));
        return Max(ShortestPause, _time.GetElapsedTime(now, (now / period + 1) * period));
    }

    /// <summary>Waits, and publishes until when and for what, so that operations that can't wait that long wake the thread.</summary>
    private WaitEnd Wait(long now, TimeSpan longest, bool forCompletions)
    {
        if (longest <= (forCompletions ? FirstWait : EarlyPause))
        {
            Volatile.Write(ref _isPaused, !forCompletions);
            Volatile.Write(ref _waitsUntil, now + (long)(longest.TotalSeconds * _time.TimestampFrequency));
            // A thread that suspends or notes a deadline has either read the published time and woken this thread, or is seen here.
            Fence.Full();
        }
        return _waker.Wait(Min(longest, UntilDeadline()), forCompletions);
    }

    /// <summary>Makes the loop poll the queue with pauses from now on.</summary>
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
