using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>One turn after the other: reads completions, posts what waits, ends what is overdue or cancelled.</summary>
/// <remarks>
/// Posting is anybody's; the rest is done by whoever has the turn. What timed out stays in its slot, its buffer
/// quarantined, until its completion comes or the endpoint is closed.
/// </remarks>
internal sealed class EndpointProgress
{
    private const int FewestRecallTurns = 100;

    private readonly EndpointHealth _health;
    private readonly RmaEndpointDriver _driver;
    private readonly EndpointErrors _errors;
    private readonly OperationSlot[] _slots;
    private readonly EndpointCounters _counters;
    private readonly TimeProvider _time;
    private readonly ProgressTurn _turn = new();
    private readonly EarliestDeadline _earliest = new();
    private readonly OperationEnding _ending;
    private readonly OverdueOperations _overdue;
    private readonly CoarseClock? _clock;
    private volatile bool _runsInline;
    private long _continuing = ProgressTurn.Nobody;
    private RmaException? _failure;

    public EndpointProgress(
        EndpointHealth health, RmaEndpointDriver driver, EndpointErrors errors, long longestPart, OperationSlot[] slots, CompletionRing completions, NotificationQueue notifications, EndpointCounters counters, bool hasOwnThread, bool runsInline)
    {
        _health = health;
        _driver = driver;
        _errors = errors;
        _slots = slots;
        _counters = counters;
        _runsInline = runsInline;
        _time = health.Time;
        _clock = hasOwnThread ? null : new CoarseClock(_time);
        RetryQueue retries = new();
        _ending = new OperationEnding(errors, retries, completions, _earliest, counters, _time);
        _overdue = new OverdueOperations(slots, driver, errors, _ending, _earliest, _time);
        Dispatch = new OperationDispatch(driver, errors, longestPart, retries, _ending, _overdue, _turn, hasOwnThread, _time);
        Completions = new RmaDriverCompletions(slots, Dispatch, _ending, errors, notifications);
    }

    public OperationDispatch Dispatch { get; }

    /// <summary>Where the driver reports completions.</summary>
    public RmaDriverCompletions Completions { get; }

    /// <summary>From here on what is due after a turn is run there.</summary>
    public void RunInline() => _runsInline = true;

    public void NoteLoss() => _overdue.NoteLoss();

    /// <summary>Why progress is impossible; null where it isn't.</summary>
    public RmaException? Failure => Volatile.Read(ref _failure);

    /// <summary>The earliest time at which something may be overdue, as a timestamp.</summary>
    public long NextDeadline => _earliest.Value;

    /// <summary>When an operation with that time-out starts, as a timestamp.</summary>
    public long StartOf(TimeSpan timeout) => _clock is null || _counters.IsTimed ? _time.GetTimestamp() : _clock.Start(timeout);

    public void NoteDeadline(long deadline) => _earliest.Note(deadline);

    public void NoteCancel() => _overdue.NoteCancel();

    /// <summary>An operation was ended while it was prepared, and is not posted: a turn frees its slot.</summary>
    public void LeaveToTurn(OperationSlot slot) => _ending.LeaveToTurn(slot, slot.Use);

    /// <summary>Makes progress, where nobody else does.</summary>
    /// <param name="clearSignal">Have the driver take a signal away that stays.</param>
    /// <returns>True when anything happened.</returns>
    public bool TryRun(bool clearSignal = false)
    {
        // Since when it has the turn is of use to who watches the endpoint's own thread.
        if (!_turn.TryTake(_clock is null ? _time.GetTimestamp() : 0))
            return false;
        if (!_runsInline)
        {
            try
            {
                return RunTurn(clearSignal);
            }
            finally
            {
                _turn.Release();
            }
        }
        bool isDue = false;
        bool happened;
        InlineContinuation.BeginTurn();
        try
        {
            happened = RunTurn(clearSignal);
        }
        catch
        {
            // Not on a thread that is about to break the endpoint.
            InlineContinuation.HandOverDue();
            throw;
        }
        finally
        {
            _turn.Release();
            isDue = InlineContinuation.EndTurn();
        }
        if (isDue && _clock is null)
            RunContinuations();
        return happened;
    }

    /// <summary>
    /// On the endpoint's own thread: code of the application, which is watched as a turn is, for operations time out without it.
    /// Callers who make progress run theirs once they have left the endpoint, which the code may close.
    /// </summary>
    private void RunContinuations()
    {
        Volatile.Write(ref _continuing, _time.GetTimestamp());
        InlineContinuation.RunDue();
        Volatile.Write(ref _continuing, ProgressTurn.Nobody);
    }

    private bool RunTurn(bool clearSignal)
    {
        bool happened = _driver.ReadCompletions(Completions, clearSignal) != RmaReadResult.Nothing;
        if (Dispatch.HasRetries)
            happened |= Dispatch.PostRetries();
        // Read again: a long turn must not take from the grace of what it cancels.
        _overdue.End(_clock is null ? _time.GetTimestamp() : _clock.Now());
        return happened;
    }

    /// <summary>
    /// Since when there is a turn, or what goes on inline runs on the endpoint's thread, as a timestamp; <see cref="ProgressTurn.Nobody"/> for neither.
    /// </summary>
    public long TurnStart => Math.Min(_turn.Start, Volatile.Read(ref _continuing));

    /// <summary>What goes on inline runs on the endpoint's thread.</summary>
    public bool IsContinuing => Volatile.Read(ref _continuing) != ProgressTurn.Nobody;

    /// <summary>Ends what is overdue or cancelled while the turn is stuck.</summary>
    public void EndOverdueWithoutTurn() => _overdue.EndWithoutTurn(_time.GetTimestamp());

    /// <summary>Progress is impossible from now on: ends what is outstanding, and refuses what comes.</summary>
    /// <returns>False where that was known already.</returns>
    public bool TryBreak(RmaException failure)
    {
        if (Interlocked.CompareExchange(ref _failure, failure, null) is not null)
            return false;
        // What is not seen in its slot here sees the failure.
        Fence.AfterInterlocked();
        foreach (OperationSlot slot in _slots)
        {
            long word = slot.Word;
            OperationState state = OperationSlot.StateOf(word);
            if (state is OperationState.Posted or OperationState.Cancelling)
                _ending.TryAbandon(slot, word, _errors.NoProgress(slot.Kind, slot.WholeLength, failure));
            else if (state is OperationState.Queued or OperationState.Unposted)
                _ending.TryFailQueued(slot, word, _errors.NoProgress(slot.Kind, slot.WholeLength, failure));
        }
        return true;
    }

    /// <summary>
    /// Asks the transport to give up what it has, of which the owners were told already, and waits for that. What does not
    /// come back in time stays held.
    /// </summary>
    /// <returns>True where all has come back.</returns>
    public bool TryRecall(TimeSpan limit)
    {
        _earliest.NoteNow();
        long start = _time.GetTimestamp();
        SpinWait spin = default;
        try
        {
            // Also where the queue could not be read before: it is tried once more.
            for (int turns = 0; HasOutstanding(); turns++)
            {
                // One turn may have been stuck for all that time.
                if (turns >= FewestRecallTurns && _time.GetElapsedTime(start) >= limit)
                    return false;
                if (!TryRun())
                    spin.SpinOnce();
                InlineContinuation.HandOverDue();
            }
            return true;
        }
        catch (Exception e)
        {
            // Of whatever kind: the endpoint's objects are closed all the same.
            Log.ProgressFailed(_health.Logger, _health.Provider, e);
            return false;
        }
    }

    /// <summary>
    /// Posts what waits, as far as some turns get: an operation that was posted with FI_MORE may not start without the next one, and where
    /// closing drops nothing it would never come back. The endpoint has no thread any more, and no caller.
    /// </summary>
    public void PostWaiting()
    {
        try
        {
            for (int turns = 0; turns < FewestRecallTurns && Dispatch.HasRetries; turns++)
            {
                TryRun();
                InlineContinuation.HandOverDue();
            }
        }
        catch (RmaException e)
        {
            Log.ProgressFailed(_health.Logger, _health.Provider, e);
        }
    }

    private bool HasOutstanding()
    {
        foreach (OperationSlot slot in _slots)
        {
            // Also what somebody else is just telling its owner: the fabric may still have it.
            if (slot.State is not (OperationState.Free or OperationState.Ended))
                return true;
        }
        return false;
    }

    /// <summary>Ends everything that is outstanding, after the last call of the endpoint. Nobody polls for completions any more.</summary>
    /// <param name="fabricIsDone">The native endpoint is closed, so the fabric touches no memory any more. Else what was posted stays held.</param>
    public void FailAll(bool fabricIsDone)
    {
        // What is not seen in its slot here sees that the endpoint is closed.
        Fence.Full();
        foreach (OperationSlot slot in _slots)
        {
            // Again where it was changed meanwhile: a turn that was stuck may have come back.
            while (!TryEnd(slot))
            {
            }
            if (fabricIsDone)
                OperationEnding.LetGo(slot, slot.Use);
        }
    }

    /// <summary>False: it was changed at the same time.</summary>
    private bool TryEnd(OperationSlot slot)
    {
        long word = slot.Word;
        OperationState state = OperationSlot.StateOf(word);
        if (state is OperationState.Queued or OperationState.Unposted)
            _ending.TryFailQueued(slot, word, _errors.EndpointClosed(slot.Kind, slot.WholeLength));
        else if (state is OperationState.Posted or OperationState.Cancelling)
            _ending.TryAbandon(slot, word, _errors.EndpointClosed(slot.Kind, slot.WholeLength));
        return slot.State is not (OperationState.Queued or OperationState.Unposted or OperationState.Posted or OperationState.Cancelling);
    }
}
