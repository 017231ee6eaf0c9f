using AllocTools.Diagnostics;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;
using AllocTools.Regions;

namespace AllocTools.Endpoints.Engine;

/// <summary>Gives operations their slots, now or when one comes free, and has them posted.</summary>
internal sealed partial class OperationStarter : IDisposable
{
    private readonly RmaContext _context;
    private readonly EndpointHealth _health;
    private readonly RmaEndpointDriver _driver;
    private readonly EndpointErrors _errors;
    private readonly NotificationQueue _notifications;
    private readonly EndpointCounters _counters;
    private readonly TimeProvider _time;
    private readonly TimeSpan _usualTimeout;
    private readonly long _usualTime;
    private readonly OperationSlot[] _slots;
    private readonly SlotPool _free;
    private readonly EndpointProgress _progress;
    private readonly ProgressLoop? _loop;
    private readonly AwaitHelp? _help;
    private readonly Action? _look;
    private volatile bool _closed;

    /// <param name="context">The endpoint's context.</param>
    /// <param name="driver">The transport.</param>
    /// <param name="errors">What failures say.</param>
    /// <param name="gate">Keeps the endpoint from being closed while it is used.</param>
    /// <param name="completions">Takes the ends of operations without a task.</param>
    /// <param name="notifications">Takes what peers' writes bring.</param>
    /// <param name="counters">The endpoint's counters.</param>
    /// <param name="options">The endpoint's options.</param>
    public OperationStarter(RmaContext context, RmaEndpointDriver driver, EndpointErrors errors, CallGate gate, CompletionRing completions, NotificationQueue notifications, EndpointCounters counters, RmaEndpointOptions options)
    {
        _context = context;
        _health = context.Health;
        _driver = driver;
        _errors = errors;
        _notifications = notifications;
        _counters = counters;
        _time = _health.Time;
        _usualTimeout = options.OperationTimeout;
        _usualTime = Time(_usualTimeout);
        MaxFollowed = driver.MaxFollowed;
        RunsInline = options.Continuations == RmaContinuations.Inline;
        _slots = new OperationSlot[options.MaxOutstanding];
        for (int i = 0; i < _slots.Length; i++)
            _slots[i] = new OperationSlot(this, i, RunsInline);
        _free = new SlotPool(_slots, TryGive);
        bool hasOwnThread = options.Progress == RmaProgress.Endpoint;
        _progress = new EndpointProgress(_health, driver, errors, context.Traits.MaxMessageSize, _slots, completions, notifications, counters, hasOwnThread, RunsInline);
        _progress.Dispatch.OnDriverFailed = Break;
        if (hasOwnThread)
        {
            // A caller must not enter a transport that may not come back; where continuations run on the endpoint's thread that is not of use.
            if (!_progress.Dispatch.TurnPostsAll && !RunsInline)
                _help = new AwaitHelp(TryRunOrBreak, gate, options.SpinTime);
            _loop = new ProgressLoop(_progress, _help, Break, _health, driver, options);
        }
        if (driver.WatchesPeers)
            _health.PeerWatch.Add(_look = LookAfterPeers);
    }

    /// <summary>Makes progress; of use where the endpoint has no thread of its own.</summary>
    public EndpointProgress Progress => _progress;

    /// <summary>The endpoint's own thread; null where the caller makes progress.</summary>
    public ProgressLoop? Loop => _loop;

    /// <summary>What is awaited goes on by the thread that makes progress.</summary>
    public bool RunsInline { get; }

    /// <summary>A slot for each operation that may be outstanding.</summary>
    public ReadOnlySpan<OperationSlot> Slots => _slots;

    /// <summary>The endpoint's statistics, but for whether it is closed: each slot is looked at, so that no operation pays for being counted.</summary>
    public RmaEndpointStatistics Snapshot()
    {
        int running = 0, abandoned = 0, unclaimed = 0, heldBack = 0;
        foreach (OperationSlot slot in _slots)
        {
            switch (slot.State)
            {
                case OperationState.Free:
                    unclaimed += slot.IsUnclaimed ? 1 : 0;
                    break;
                case OperationState.Abandoned or OperationState.Refused:
                    abandoned++;
                    break;
                default:
                    running++;
                    heldBack += slot.Kind == RmaOperationKind.Send && _driver.HoldsBack(slot, slot.State == OperationState.Queued) ? 1 : 0;
                    break;
            }
        }
        return _counters.Snapshot() with
        {
            State = _progress.Failure is not null ? RmaEndpointState.Failed : _loop is { IsStuck: true } ? RmaEndpointState.Stuck : RmaEndpointState.Open,
            Limit = _slots.Length,
            Running = running,
            Abandoned = abandoned,
            Unclaimed = unclaimed,
            Pending = _free.WaitingCount,
            HeldBackSends = heldBack,
        };
    }

    public void FreeSlot(OperationSlot slot) => _free.Return(slot);

    public void OnCancelRequested()
    {
        _progress.NoteCancel();
        _loop?.Wake();
    }

    /// <summary>Completions may be there to be read.</summary>
    public void WakeForCompletions() => _loop?.WakeIfWaiting();

    /// <summary>An operation is about to be awaited: makes progress for it, for a while.</summary>
    /// <returns>True where it has ended.</returns>
    public bool TryEnd(OperationSlot slot, short token) => _help is not null && EndHelp(_help.TryEnd(slot, token));

    /// <inheritdoc cref="TryEnd(OperationSlot, short)"/>
    public bool TryEnd(BatchRun batch, short token) => _help is not null && EndHelp(_help.TryEnd(batch, token, AwaitHelp.BatchKind));

    /// <inheritdoc cref="TryEnd(OperationSlot, short)"/>
    public bool TryEnd(NotificationQueue notifications) => _help is not null && EndHelp(_help.TryEnd(notifications, 0, AwaitHelp.NotificationKind));

    /// <summary>An await suspends: from here on the endpoint's thread makes progress for it.</summary>
    public void OnSuspending()
    {
        _help?.Suspend();
        _loop?.WakeIfPaused();
    }

    /// <summary>The result of an await that had suspended was taken.</summary>
    public void OnResumed() => _help?.Resume();

    /// <summary>A peer is lost: a turn ends what is outstanding with it.</summary>
    public void OnPeerLost()
    {
        _progress.NoteLoss();
        _loop?.WakeIfWaiting();
    }

    private void LookAfterPeers()
    {
        if (_driver.LookAfterPeers())
            _loop?.WakeIfWaiting();
    }

    /// <summary>Starts an operation with a task.</summary>
    /// <returns>True: the slot carries the task. False: <paramref name="later"/> is it.</returns>
    public bool Start(
        in RmaOperation operation, TimeSpan timeout, CancellationToken cancellationToken, out OperationSlot? slot, out ValueTask<RmaReceiveResult> later)
    {
        later = default;
        if (!_free.TryTake(out slot))
        {
            later = StartLater(operation, timeout, cancellationToken);
            return false;
        }
        _help?.NoteStart(slot);
        long deadline;
        try
        {
            bool isPrepared = Prepare(operation, slot, hasTask: true, timeout, cancellationToken, out deadline);
            if (isPrepared)
                _progress.Dispatch.Post(slot);
        }
        catch (RmaOperationException e)
        {
            // The peer is lost, or the endpoint failed or was closed since the call began: by the task.
            later = Refuse(operation, e);
            return false;
        }
        WakeForNext(deadline);
        return true;
    }

    /// <summary>What a turn has left for later is the thread's.</summary>
    private bool EndHelp(bool hasEnded)
    {
        WakeForNext(_progress.NextDeadline);
        return hasEnded;
    }

    /// <summary>Wakes the thread where it has to make progress: no await does, something waits to be posted, or it would come too late for a deadline.</summary>
    private void WakeForNext(long deadline)
    {
        if (_help is null || _progress.Dispatch.HasRetries)
            _loop?.WakeIfWaiting();
        else
            _loop?.WakeIfWaitingPast(Math.Min(deadline, _progress.NextDeadline));
    }

    /// <summary>Starts an operation without a task.</summary>
    /// <returns>False where no slot is free, or the transport would not take it.</returns>
    public bool TryPost(in RmaOperation operation, TimeSpan timeout)
    {
        if (!_free.TryTake(out OperationSlot? slot))
            return false;
        bool posted = !Prepare(operation, slot, hasTask: false, timeout, CancellationToken.None, out _) || _progress.Dispatch.TryPost(slot);
        if (posted)
            _loop?.WakeIfWaiting();
        return posted;
    }

    /// <summary>Starts an operation whose end an owner is notified of. Where the transport is full it waits in order.</summary>
    /// <returns>False where no slot is free.</returns>
    /// <exception cref="RmaOperationException">It can't be started: its peer is lost, or the endpoint failed or was closed.</exception>
    public bool TryStart(in RmaOperation operation, IOperationOwner owner)
    {
        if (!_free.TryTake(out OperationSlot? slot))
            return false;
        slot.Owner = owner;
        if (Prepare(operation, slot, hasTask: false, _usualTimeout, CancellationToken.None, out _))
            _progress.Dispatch.Post(slot);
        _loop?.WakeIfWaiting();
        return true;
    }

    /// <summary>Refuses what comes, and ends what waits for a slot.</summary>
    public void EndWaiting()
    {
        _closed = true;
        if (_look is not null)
            _health.PeerWatch.Remove(_look);
        foreach (WaitingOperation waiting in _free.Close())
            EndWaiting(waiting, _errors.EndpointClosed(waiting.Operation.Kind, waiting.Operation.Local.Length));
    }

    /// <summary>Makes progress for a caller; where that is impossible, fails what is outstanding and says so, as the endpoint's thread does.</summary>
    /// <returns>True when anything happened.</returns>
    public bool TryRunOrBreak()
    {
        if (_progress.Failure is not null)
            return false;
        try
        {
            return _progress.TryRun();
        }
        catch (Exception e)
        {
            // Of whatever kind, from a driver: the caller's operations get it.
            Break(e);
            return true;
        }
    }

    /// <summary>Progress is impossible: says so, and fails what is outstanding and what waits. Of several that find that out the first does.</summary>
    private void Break(Exception e)
    {
        RmaException failure = e as RmaException ?? new RmaException($"An endpoint of provider '{_health.Provider}' failed: {e.Message}", innerException: e);
        if (!_progress.TryBreak(failure))
            return;
        Log.ProgressFailed(_health.Logger, _health.Provider, e);
        _health.ReportFailure(failure);
        foreach (WaitingOperation waiting in _free.TakeWaiting())
            EndWaiting(waiting, NoProgress(waiting.Operation, failure));
        _notifications.Fail(_errors.NoNotifications(failure));
    }

    private RmaOperationException NoProgress(in RmaOperation operation, RmaException failure) =>
        _errors.NoProgress(operation.Kind, operation.Local.Length, failure);

    /// <summary>
    /// Why an operation may not go on that has a slot now; null where it may. Whoever closes the endpoint, breaks it or
    /// removes a peer says so first, and then looks at the slots; here it is the other way round, so that one of the two
    /// sees the other.
    /// </summary>
    private Exception? FindReasonAgainst(in RmaOperation operation) =>
        _closed ? _errors.EndpointClosed(operation.Kind, operation.Local.Length)
        : _progress.Failure is { } failure ? NoProgress(operation, failure)
        : _errors.FindReasonAgainst(operation);

    private ValueTask<RmaReceiveResult> Refuse(in RmaOperation operation, RmaOperationException error)
    {
        _counters.Failed(operation.Kind, error);
        return ValueTask.FromException<RmaReceiveResult>(error);
    }

    /// <summary>Gives the thread's means back, after it was stopped and the last operation was ended.</summary>
    public void Dispose() => _loop?.Dispose();

    /// <summary>All slots are taken: the operation waits its turn, with its buffer held and its time running.</summary>
    private ValueTask<RmaReceiveResult> StartLater(in RmaOperation operation, TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (_errors.FindReasonAgainst(operation) is RmaPeerLostException lost)
            return Refuse(operation, lost);
        RmaHold hold = Hold(operation);
        long now = _time.GetTimestamp();
        var waiting = new WaitingOperation(operation, hold, now, DeadlineOf(now, timeout), cancellationToken);
        if (_free.TryWait(waiting) is not { } node)
        {
            LetGo(operation, hold);
            return Refuse(operation, _errors.EndpointClosed(operation.Kind, operation.Local.Length));
        }
        // It may have come after those that wait were ended.
        if (_progress.Failure is { } failure && _free.TryRemove(node))
            EndWaiting(waiting, NoProgress(operation, failure));
        return AwaitAsync(node, timeout);
    }

    private async ValueTask<RmaReceiveResult> AwaitAsync(LinkedListNode<WaitingOperation> node, TimeSpan timeout)
    {
        WaitingOperation waiting = node.Value;
        OnSuspending();
        try
        {
            return await waiting.Task.WaitAsync(timeout, _time, waiting.CancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            // Where it has its slot it ends by itself: at its deadline, or soon after it was cancelled.
            if (!_free.TryRemove(node))
                return await waiting.Task.ConfigureAwait(false);
            LetGo(waiting.Operation, waiting.Hold);
            if (e is OperationCanceledException)
            {
                _counters.Failed(waiting.Operation.Kind, e);
                throw;
            }
            RmaTimeoutException error = _errors.NoSlot(
                waiting.Operation.Kind,
                waiting.Operation.Local.Length,
                _time.GetElapsedTime(waiting.Started),
                _slots.Length,
                _slots.Count(s => s.State == OperationState.Abandoned));
            _counters.Failed(waiting.Operation.Kind, error);
            throw error;
        }
        finally
        {
            OnResumed();
        }
    }

    /// <summary>Gives a slot to an operation that waited for one. False: it has failed, such as when its peer was removed meanwhile.</summary>
    private bool TryGive(WaitingOperation waiting, OperationSlot slot)
    {
        if (waiting.Batch is { } batch)
            slot.Prepare(waiting.Operation, waiting.Hold, batch, waiting.Ticket, waiting.Started);
        else
            slot.Prepare(waiting.Operation, waiting.Hold, hasTask: true, waiting.Started, waiting.Deadline, waiting.CancellationToken, waiting);
        if (FindReasonAgainst(waiting.Operation) is { } reason && slot.TryUnprepare())
        {
            EndWaiting(waiting, reason);
            return false;
        }
        _progress.NoteDeadline(waiting.Deadline);
        long use = slot.Use;
        // The end of the wait is all that a batch takes from here.
        if (waiting.Batch is not null)
            waiting.TrySetResult(default);
        _progress.Dispatch.Queue(slot, use);
        _loop?.WakeIfWaiting();
        return true;
    }

    private void EndWaiting(WaitingOperation waiting, Exception error)
    {
        _counters.Failed(waiting.Operation.Kind, error);
        LetGo(waiting.Operation, waiting.Hold);
        waiting.TrySetException(error);
    }

    /// <summary>Fills a slot.</summary>
    /// <returns>False: it was cancelled or its time was over at once, and it ends by itself.</returns>
    private bool Prepare(in RmaOperation operation, OperationSlot slot, bool hasTask, TimeSpan timeout, CancellationToken cancellationToken, out long deadline)
    {
        RmaHold hold;
        try
        {
            hold = Hold(operation);
        }
        catch
        {
            slot.Owner = null;
            _free.Return(slot);
            throw;
        }
        long now = _progress.StartOf(timeout);
        deadline = DeadlineOf(now, timeout);
        slot.Prepare(operation, hold, hasTask, now, deadline, cancellationToken);
        _progress.NoteDeadline(deadline);
        if (FindReasonAgainst(operation) is not { } reason)
            return true;
        if (!slot.TryUnprepare())
        {
            _progress.LeaveToTurn(slot);
            return false;
        }
        LetGo(operation, hold);
        _free.Return(slot);
        throw reason;
    }

    /// <summary>Holds what the operation uses: the buffer, and a mapped key.</summary>
    private static RmaHold Hold(in RmaOperation operation)
    {
        RmaHold hold = operation.Local.Hold();
        try
        {
            operation.Remote.Region?.AddUse();
            return hold;
        }
        catch
        {
            hold.Release();
            throw;
        }
    }

    private static void LetGo(in RmaOperation operation, RmaHold hold)
    {
        operation.Remote.Region?.EndUse();
        hold.Release();
    }

    private long DeadlineOf(long now, TimeSpan timeout) =>
        timeout == Timeout.InfiniteTimeSpan ? long.MaxValue : now + (timeout == _usualTimeout ? _usualTime : Time(timeout));

    /// <summary>A time as a difference of timestamps.</summary>
    private long Time(TimeSpan time) => (long)(time.TotalSeconds * _time.TimestampFrequency);
}
