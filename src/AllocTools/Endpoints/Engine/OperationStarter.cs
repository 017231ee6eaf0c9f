using AllocTools.Diagnostics;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;
using AllocTools.Regions;

namespace AllocTools.Endpoints.Engine;

/// <summary>Gives operations their slots, immediately or when one becomes free, and posts them.</summary>
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
    private readonly Action? _lookForSlow;
    private volatile bool _closed;

    /// <param name="context">The endpoint's context.</param>
    /// <param name="driver">The transport.</param>
    /// <param name="errors">Creates the errors.</param>
    /// <param name="gate">Prevents the endpoint from being closed while it is used.</param>
    /// <param name="completions">Receives the completions of operations without a task.</param>
    /// <param name="notifications">Receives the notifications of peers' writes.</param>
    /// <param name="counters">The endpoint's counters.</param>
    /// <param name="states">The states of the endpoint's peers.</param>
    /// <param name="options">The endpoint's options.</param>
    public OperationStarter(RmaContext context, RmaEndpointDriver driver, EndpointErrors errors, CallGate gate, CompletionRing completions, NotificationQueue notifications, EndpointCounters counters, PeerStates states, RmaEndpointOptions options)
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
            // A caller must not call a transport that may not return. If continuations run on the endpoint's thread,
            // spinning is useless.
            if (!_progress.Dispatch.TurnPostsAll && !RunsInline)
                _help = new AwaitHelp(TryRunOrBreak, gate, options.SpinTime);
            _loop = new ProgressLoop(_progress, _help, Break, _health, driver, options);
        }
        if (driver.WatchesPeers)
            _health.PeerWatch.Add(_look = LookAfterPeers);
        if (options.SlowPeerTime != Timeout.InfiniteTimeSpan)
            _health.PeerWatch.Add(_lookForSlow = new SlowPeers(options.SlowPeerTime, _slots, _free, counters, states, _time).Look);
    }

    /// <summary>Makes progress; used if the endpoint has no thread of its own.</summary>
    public EndpointProgress Progress => _progress;

    /// <summary>The endpoint's own thread; null if the caller makes progress.</summary>
    public ProgressLoop? Loop => _loop;

    /// <summary>Whether continuations run on the thread that makes progress.</summary>
    public bool RunsInline { get; }

    /// <summary>The slots, one for each operation that may be outstanding.</summary>
    public ReadOnlySpan<OperationSlot> Slots => _slots;

    /// <summary>
    /// Returns the endpoint's statistics, except whether it is closed. They are computed by inspecting each slot, so that
    /// operations pay nothing for the count.
    /// </summary>
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

    /// <summary>Called when there may be completions to read.</summary>
    public void WakeForCompletions() => _loop?.WakeIfWaiting();

    /// <summary>Makes progress for a while for an operation that is about to be awaited.</summary>
    /// <returns>True if the operation has ended.</returns>
    public bool TryEnd(OperationSlot slot, short token) => _help is not null && EndHelp(_help.TryEnd(slot, token));

    /// <inheritdoc cref="TryEnd(OperationSlot, short)"/>
    public bool TryEnd(BatchRun batch, short token) => _help is not null && EndHelp(_help.TryEnd(batch, token, AwaitHelp.BatchKind));

    /// <inheritdoc cref="TryEnd(OperationSlot, short)"/>
    public bool TryEnd(NotificationQueue notifications) => _help is not null && EndHelp(_help.TryEnd(notifications, 0, AwaitHelp.NotificationKind));

    /// <summary>Called when an await suspends. From now on the endpoint's thread makes progress for it.</summary>
    public void OnSuspending()
    {
        _help?.Suspend();
        _loop?.WakeIfPaused();
    }

    /// <summary>Called when the result of an await that had suspended was taken.</summary>
    public void OnResumed() => _help?.Resume();

    /// <summary>Called when a peer is lost. A turn then ends its outstanding operations.</summary>
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
    /// <returns>True if the slot carries the task; false if <paramref name="later"/> is the task.</returns>
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
            // If the peer is lost, or the endpoint has failed or was closed since the call began, the task reports that.
            later = Refuse(operation, e);
            return false;
        }
        WakeForNext(deadline);
        return true;
    }

    /// <summary>Wakes the thread, if necessary, for operations that a turn has left for later.</summary>
    private bool EndHelp(bool hasEnded)
    {
        WakeForNext(_progress.NextDeadline);
        return hasEnded;
    }

    /// <summary>Wakes the thread if it must make progress: if no await does, operations wait to be posted, or the thread would miss a deadline.</summary>
    private void WakeForNext(long deadline)
    {
        if (_help is null || _progress.Dispatch.HasRetries)
            _loop?.WakeIfWaiting();
        else
            _loop?.WakeIfWaitingPast(Math.Min(deadline, _progress.NextDeadline));
    }

    /// <summary>Starts an operation without a task.</summary>
    /// <returns>False if no slot is free, or the transport did not accept it.</returns>
    public bool TryPost(in RmaOperation operation, TimeSpan timeout)
    {
        if (!_free.TryTake(out OperationSlot? slot))
            return false;
        bool posted = !Prepare(operation, slot, hasTask: false, timeout, CancellationToken.None, out _) || _progress.Dispatch.TryPost(slot);
        if (posted)
            _loop?.WakeIfWaiting();
        return posted;
    }

    /// <summary>
    /// Starts an operation with an owner, which is notified when it ends. If the transport is full, the operation waits in
    /// order.
    /// </summary>
    /// <returns>False if no slot is free.</returns>
    /// <exception cref="RmaOperationException">The operation can't be started, because its peer is lost, or the endpoint
    /// has failed or was closed.</exception>
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

    /// <summary>Refuses new operations, and ends those that wait for a slot.</summary>
    public void EndWaiting()
    {
        _closed = true;
        if (_look is not null)
            _health.PeerWatch.Remove(_look);
        if (_lookForSlow is not null)
            _health.PeerWatch.Remove(_lookForSlow);
        foreach (WaitingOperation waiting in _free.Close())
            EndWaiting(waiting, _errors.EndpointClosed(waiting.Operation.Kind, waiting.Operation.Local.Length));
    }

    /// <summary>Makes progress for a caller. If that is impossible, fails outstanding operations and reports the failure, like the endpoint's thread.</summary>
    /// <returns>True if anything happened.</returns>
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
            // All exceptions of a driver are caught, because the caller's operations report them.
            Break(e);
            return true;
        }
    }

    /// <summary>
    /// Reports that progress is impossible, and fails all outstanding and waiting operations. If several threads detect
    /// it, only the first one does so.
    /// </summary>
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
    /// Returns why an operation that now has a slot may not continue; null if it may. A thread that closes the endpoint,
    /// marks it as failed or removes a peer first publishes that, and then looks at the slots. Here the order is reversed,
    /// so that one of the two sees the other.
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

    /// <summary>Releases the thread's resources, after it was stopped and the last operation has ended.</summary>
    public void Dispose() => _loop?.Dispose();

    /// <summary>Queues an operation because all slots are in use. While it waits, its buffer is held and its time is running.</summary>
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
        // The operation may have been added after all waiting ones were ended.
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
            // If it already has its slot, its own task ends: at its deadline, or soon after it was cancelled.
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

    /// <summary>
    /// Gives a slot to an operation that waited for one. Returns false if the operation has failed, for example because its
    /// peer was removed meanwhile.
    /// </summary>
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
        // A batch needs to know only that the wait has ended.
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
    /// <returns>False if the operation was already cancelled or overdue, so that a turn ends it.</returns>
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

    /// <summary>Holds the resources of the operation: the buffer, and a mapped key.</summary>
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

    /// <summary>Converts a time to a difference of timestamps.</summary>
    private long Time(TimeSpan time) => (long)(time.TotalSeconds * _time.TimestampFrequency);
}
