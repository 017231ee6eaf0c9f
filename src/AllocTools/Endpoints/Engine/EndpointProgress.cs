using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>
/// Runs one progress turn after the other: reads completions, posts waiting operations, and ends overdue or cancelled
/// ones.
/// </summary>
/// <remarks>
/// Any thread may post; only the thread that has the turn does everything else. An operation that timed out keeps its
/// slot, with its buffer quarantined, until its completion arrives or the endpoint is closed.
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

    /// <summary>The object to which the driver reports completions.</summary>
    public RmaDriverCompletions Completions { get; }

    /// <summary>Makes continuations that are due after a turn run on the turn's thread from now on.</summary>
    public void RunInline() => _runsInline = true;

    public void NoteLoss() => _overdue.NoteLoss();

    /// <summary>Why progress is impossible; null if it is possible.</summary>
    public RmaException? Failure => Volatile.Read(ref _failure);

    /// <summary>The earliest time at which something may be overdue, as a timestamp.</summary>
    public long NextDeadline => _earliest.Value;

    /// <summary>Returns the start of an operation with that time-out, as a timestamp.</summary>
    public long StartOf(TimeSpan timeout) => _clock is null || _counters.IsTimed ? _time.GetTimestamp() : _clock.Start(timeout);

    /// <inheritdoc cref="OverdueOperations.Looks"/>
    public long LooksForDeadlines => _overdue.Looks;

    public void NoteDeadline(long deadline) => _earliest.Note(deadline);

    public void NoteCancel() => _overdue.NoteCancel();

    /// <summary>Called when an operation was ended while it was prepared, and is not posted. A turn frees its slot.</summary>
    public void LeaveToTurn(OperationSlot slot) => _ending.LeaveToTurn(slot, slot.Use);

    /// <summary>Makes progress, unless another thread does.</summary>
    /// <param name="clearSignal">Whether the driver must clear a signal that stays set.</param>
    /// <returns>True if anything happened.</returns>
    public bool TryRun(bool clearSignal = false)
    {
        // The start of the turn is needed only for monitoring the endpoint's own thread.
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
            // This is skipped on a thread that is about to mark the endpoint as failed.
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
    /// Runs due continuations on the endpoint's own thread. They are code of the application, and are monitored like a
    /// turn, so that operations still time out meanwhile. Callers that make progress run continuations after they have left
    /// the endpoint, because the code may close the endpoint.
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
        // The time is read again, because a long turn must not shorten the grace period of operations that it cancels.
        _overdue.End(_clock is null ? _time.GetTimestamp() : _clock.Now());
        return happened;
    }

    /// <summary>
    /// The start of the current turn, or of an inline continuation on the endpoint's thread, as a timestamp;
    /// <see cref="ProgressTurn.Nobody"/> if there is neither.
    /// </summary>
    public long TurnStart => Math.Min(_turn.Start, Volatile.Read(ref _continuing));

    /// <summary>Whether an inline continuation is running on the endpoint's thread.</summary>
    public bool IsContinuing => Volatile.Read(ref _continuing) != ProgressTurn.Nobody;

    /// <summary>Ends overdue or cancelled operations while the turn is stuck.</summary>
    public void EndOverdueWithoutTurn() => _overdue.EndWithoutTurn(_time.GetTimestamp());

    /// <summary>Marks progress as impossible: ends outstanding operations, and refuses new ones.</summary>
    /// <returns>False if it was already marked.</returns>
    public bool TryBreak(RmaException failure)
    {
        if (Interlocked.CompareExchange(ref _failure, failure, null) is not null)
            return false;
        // An operation that is not seen in its slot here will itself see the failure.
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
    /// Asks the transport to cancel its operations, whose owners have already been notified, and waits until they have
    /// completed. The buffers of operations that don't complete in time stay held.
    /// </summary>
    /// <returns>True if all operations have completed.</returns>
    public bool TryRecall(TimeSpan limit)
    {
        _earliest.NoteNow();
        long start = _time.GetTimestamp();
        SpinWait spin = default;
        try
        {
            // Even if the queue could not be read before, it is tried once more.
            for (int turns = 0; HasOutstanding(); turns++)
            {
                // A single turn may have been stuck for the whole time.
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
            // All exceptions are caught, because the endpoint's objects must be closed nevertheless.
            Log.ProgressFailed(_health.Logger, _health.Provider, e);
            return false;
        }
    }

    /// <summary>
    /// Posts waiting operations for some turns. An operation that was posted with FI_MORE may not start without the next
    /// one, and if closing does not drop it, it would never complete. At this point the endpoint has no thread and no
    /// callers.
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

    /// <summary>Whether the transport still has a write, a read or a message of this side that its peer has not answered.</summary>
    public bool HasUnanswered()
    {
        foreach (OperationSlot slot in _slots)
        {
            if (slot.State is OperationState.Posted or OperationState.Cancelling or OperationState.Abandoned && slot.Kind != RmaOperationKind.Receive)
                return true;
        }
        return false;
    }

    private bool HasOutstanding()
    {
        foreach (OperationSlot slot in _slots)
        {
            // This includes operations whose owner another thread is notifying right now, because the fabric may still have them.
            if (slot.State is not (OperationState.Free or OperationState.Ended))
                return true;
        }
        return false;
    }

    /// <summary>Ends all outstanding operations, after the last call on the endpoint. No thread polls for completions any more.</summary>
    /// <param name="fabricIsDone">Whether the native endpoint is closed, so that the fabric no longer accesses memory.
    /// Otherwise the buffers of posted operations stay held.</param>
    public void FailAll(bool fabricIsDone)
    {
        // An operation that is not seen in its slot here will itself see that the endpoint is closed.
        Fence.Full();
        foreach (OperationSlot slot in _slots)
        {
            // This is repeated if the state was changed meanwhile, because a stuck turn may have returned.
            while (!TryEnd(slot))
            {
            }
            if (fabricIsDone)
                OperationEnding.LetGo(slot, slot.Use);
        }
    }

    /// <summary>Returns false if the state was changed at the same time.</summary>
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
