using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Libfabric;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>One turn after the other: reads completions, posts what waits, ends what is overdue or cancelled.</summary>
/// <remarks>
/// Posting is anybody's; the rest is done by whoever has the turn. What timed out stays in its slot, its buffer
/// quarantined, until its completion comes or the endpoint is closed.
/// </remarks>
internal sealed unsafe class EndpointProgress
{
    private const int FewestRecallTurns = 100;

    private readonly LibfabricContext _context;
    private readonly OperationSlot[] _slots;
    private readonly EndpointCounters _counters;
    private readonly TimeProvider _time;
    private readonly ProgressTurn _turn = new();
    private readonly EarliestDeadline _earliest = new();
    private readonly OperationEnding _ending;
    private readonly OverdueOperations _overdue;
    private readonly CompletionReader _reader;
    private readonly CoarseClock? _clock;
    private RmaException? _failure;

    public EndpointProgress(
        LibfabricContext context, LibfabricEndpointResources resources, PeerTable peers, OperationSlot[] slots, fi_context2* contexts, CompletionRing completions, EndpointCounters counters, TimeProvider time, bool hasOwnThread, ReceiveOverflow? overflow, DeliveryGauge? gauge)
    {
        _context = context;
        _slots = slots;
        _counters = counters;
        _time = time;
        _clock = hasOwnThread ? null : new CoarseClock(time);
        RetryQueue retries = new();
        Losses = new PeerLosses(context, peers, counters, time);
        _ending = new OperationEnding(context, peers, Losses, retries, completions, _earliest, counters, time);
        _overdue = new OverdueOperations(slots, contexts, resources.Endpoint, peers, _ending, _earliest, time);
        Lanes = new TransmitLanes(context, resources, peers, slots, _ending);
        OperationPoster poster = new(Lanes, context.Traits, contexts, overflow, gauge);
        Dispatch = new OperationDispatch(context, poster, retries, _ending, Losses, _overdue, _turn, hasOwnThread);
        _reader = new CompletionReader(context, resources.Queue, slots, contexts, Dispatch, _ending, Losses, overflow, gauge);
    }

    public OperationDispatch Dispatch { get; }

    /// <summary>The native endpoints that operations are posted to.</summary>
    public TransmitLanes Lanes { get; }

    /// <summary>Finds out which peers are lost.</summary>
    public PeerLosses Losses { get; }

    public void NoteLoss() => _overdue.NoteLoss();

    /// <summary>Why progress is impossible; null where it isn't.</summary>
    public RmaException? Failure
    {
        get => Volatile.Read(ref _failure);
        private set => Volatile.Write(ref _failure, value);
    }

    /// <summary>The earliest time at which something may be overdue, as a timestamp.</summary>
    public long NextDeadline => _earliest.Value;

    /// <summary>When an operation with that time-out starts, as a timestamp.</summary>
    public long StartOf(TimeSpan timeout) => _clock is null || _counters.IsTimed ? _time.GetTimestamp() : _clock.Start(timeout);

    public void NoteDeadline(long deadline) => _earliest.Note(deadline);

    public void NoteCancel() => _overdue.NoteCancel();

    /// <summary>An operation was ended while it was prepared, and is not posted: a turn frees its slot.</summary>
    public void LeaveToTurn(OperationSlot slot) => _ending.LeaveToTurn(slot, slot.Use);

    /// <summary>Makes progress, where nobody else does.</summary>
    /// <param name="milliseconds">How long to wait for a completion, inside the transport.</param>
    /// <returns>True when anything happened.</returns>
    public bool TryRun(int milliseconds = 0)
    {
        // Since when it has the turn is of use to who watches the endpoint's own thread.
        if (!_turn.TryTake(_clock is null ? _time.GetTimestamp() : 0))
            return false;
        try
        {
            bool happened = _reader.Read(milliseconds);
            if (Dispatch.HasRetries)
                happened |= Dispatch.PostRetries();
            // A completion that has not been read yet may be of what the look would give up.
            if (_reader.WasEmptied)
                Lanes.LookIfDue();
            // Read again: a long turn must not take from the grace of what it cancels.
            _overdue.End(_clock is null ? _time.GetTimestamp() : _clock.Now());
            return happened;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>When whoever has the turn took it, as a timestamp; <see cref="ProgressTurn.Nobody"/> where nobody has it.</summary>
    public long TurnStart => _turn.Start;

    /// <summary>Ends what is overdue or cancelled while the turn is stuck.</summary>
    public void EndOverdueWithoutTurn() => _overdue.EndWithoutTurn(_time.GetTimestamp());

    /// <summary>Progress is impossible from now on: ends what is outstanding, and refuses what comes.</summary>
    public void Break(RmaException failure)
    {
        Failure = failure;
        // What is not seen in its slot here sees the failure.
        Fence.Full();
        foreach (OperationSlot slot in _slots)
        {
            long word = slot.Word;
            OperationState state = OperationSlot.StateOf(word);
            if (state is OperationState.Posted or OperationState.Cancelling)
                _ending.TryAbandon(slot, word, _ending.NoProgressError(slot, failure));
            else if (state is OperationState.Queued or OperationState.Unposted)
                _ending.TryFailQueued(slot, word, _ending.NoProgressError(slot, failure));
        }
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
            }
            return true;
        }
        catch (RmaException e)
        {
            Log.ProgressFailed(_context.Logger, _context.Traits.ProviderName, e);
            return false;
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
            _ending.TryFailQueued(slot, word, _ending.ClosedError(slot));
        else if (state is OperationState.Posted or OperationState.Cancelling)
            _ending.TryAbandon(slot, word, _ending.ClosedError(slot));
        return slot.State is not (OperationState.Queued or OperationState.Unposted or OperationState.Posted or OperationState.Cancelling);
    }
}
