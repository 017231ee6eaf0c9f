using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>Finds overdue and cancelled operations, and ends them.</summary>
/// <remarks>
/// The turn first asks the transport to cancel a posted operation, and abandons it after the grace period, because a
/// receive that stayed posted would consume a later message. If the turn is stuck in the transport, the transport is not
/// asked. A request may be made before the call that posts. In that case the poster notices it, and the transport is
/// asked again.
/// A round looks at all slots, and puts the running ones into a queue by their deadlines. From then on, only entries
/// that are due are looked at. The next round runs when the deadline of an operation that began later has passed, or
/// when something requests a turn. So operations that time out one after the other cost one step of the queue each, not
/// a round.
/// </remarks>
internal sealed class OverdueOperations(
    OperationSlot[] slots, RmaEndpointDriver driver, EndpointErrors errors, OperationEnding ending, EarliestDeadline earliest, TimeProvider time)
{
    /// <summary>
    /// How long an await continues after its cancellation, so that the transport can report whether it cancelled the
    /// operation.
    /// </summary>
    public static readonly TimeSpan CancelGrace = TimeSpan.FromMilliseconds(100);

    private readonly long _cancelGrace = (long)(CancelGrace.TotalSeconds * time.TimestampFrequency);

    // Operations and the numbers of their uses, ordered by deadline; some have already ended. Used only by the turn's holder.
    private readonly PriorityQueue<(OperationSlot Slot, long Use), long> _known = new();
    private long _looks;
    private int _cancelNoted;
    private int _lossNoted;
    private int _postNoted;
    private int _requests;

    /// <summary>How often the transport was asked to cancel an operation. Any thread may call this.</summary>
    public int Requests => Volatile.Read(ref _requests);

    /// <summary>How often a slot, or an entry of the queue, was looked at for its deadline.</summary>
    public long Looks => Volatile.Read(ref _looks);

    /// <summary>Requests the cancellation of an operation.</summary>
    public void NoteCancel() => Interlocked.Exchange(ref _cancelNoted, 1);

    /// <summary>Called when a peer is lost. A turn then ends its outstanding operations.</summary>
    public void NoteLoss() => Interlocked.Exchange(ref _lossNoted, 1);

    /// <summary>
    /// Called when an operation was posted, and <see cref="Requests"/> has changed meanwhile: that request may have been
    /// for this operation, but too early.
    /// </summary>
    public void NotePost()
    {
        Interlocked.Exchange(ref _postNoted, 1);
        // A turn must run soon, because nothing else wakes the endpoint's thread for it.
        earliest.NoteNow();
    }

    /// <summary>Ends overdue operations. The caller must hold the progress turn.</summary>
    public void End(long now)
    {
        if (Volatile.Read(ref _cancelNoted) != 0)
            CancelRequested(now);
        if (Volatile.Read(ref _lossNoted) != 0)
            EndLost(now);
        if (Volatile.Read(ref _postNoted) != 0)
            AskAgain(now);
        if (now < earliest.Value)
            return;
        if (now >= earliest.Noted)
            LookAtAll(now);
        else
            LookAtDue(now);
        earliest.Known = _known.TryPeek(out _, out long next) ? next : long.MaxValue;
    }

    private void LookAtAll(long now)
    {
        earliest.Reset();
        _known.Clear();
        foreach (OperationSlot slot in slots)
            Look(slot, now);
    }

    private void LookAtDue(long now)
    {
        while (_known.TryPeek(out (OperationSlot Slot, long Use) due, out long deadline) && deadline <= now)
        {
            _known.Dequeue();
            _looks++;
            // If another operation has the slot by now, its deadline was noted when it began.
            if (due.Slot.Use == due.Use)
                Look(due.Slot, now);
        }
    }

    private void Look(OperationSlot slot, long now)
    {
        _looks++;
        long word = slot.Word;
        OperationState state = OperationSlot.StateOf(word);
        if (state == OperationState.Unposted)
            ending.TryFailQueued(slot, word, ending.OverdueError(slot, isHeld: false));
        else if (state == OperationState.Refused)
            OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
        else if (state == OperationState.Abandoned && slot.CancelRequests == 0)
            AskToGiveUp(slot);
        if (state is not (OperationState.Posted or OperationState.Queued or OperationState.Cancelling))
            return;
        long deadline = state == OperationState.Cancelling ? slot.GraceEnds : slot.Deadline;
        if (slot.Word != word)
            earliest.NoteNow();
        else if (deadline > now)
            _known.Enqueue((slot, OperationSlot.UseOf(word)), deadline);
        else if (state == OperationState.Queued)
            ending.TryFailQueued(slot, word, ending.OverdueError(slot, isHeld: false));
        else if (state == OperationState.Posted)
            Cancel(slot, word, now);
        else
            ending.TryAbandon(slot, word, ending.OverdueError(slot, isHeld: true));
    }

    /// <summary>Ends overdue operations while the turn is stuck. Any thread may call this.</summary>
    public void EndWithoutTurn(long now)
    {
        foreach (OperationSlot slot in slots)
        {
            long word = slot.Word;
            OperationState state = OperationSlot.StateOf(word);
            bool isPosted = state is OperationState.Posted or OperationState.Cancelling;
            bool isDue = slot.Deadline <= now || slot.CancelRequested || (isPosted || state is OperationState.Queued) && errors.FindLoss(slot) is not null;
            // If the word is unchanged, the values read above belong to this use.
            if (!isDue || slot.Word != word)
                continue;
            if (isPosted)
                ending.TryAbandon(slot, word, ending.OverdueError(slot, isHeld: true));
            else if (state is OperationState.Queued)
                ending.TryFailQueued(slot, word, ending.OverdueError(slot, isHeld: false));
            else if (state is OperationState.Unposted)
                ending.TryNotifyUnposted(slot, word, ending.OverdueError(slot, isHeld: false));
        }
        // When the turn returns, it asks the transport to cancel operations that were abandoned here.
        earliest.NoteNow();
    }

    private void CancelRequested(long now)
    {
        // A request that this round does not see notes itself after this.
        Interlocked.Exchange(ref _cancelNoted, 0);
        Fence.AfterInterlocked();
        foreach (OperationSlot slot in slots)
        {
            long word = slot.Word;
            if (!slot.CancelRequested)
                continue;
            if (OperationSlot.StateOf(word) == OperationState.Queued)
                ending.TryFailQueued(slot, word, ending.OverdueError(slot, isHeld: false));
            else if (OperationSlot.StateOf(word) == OperationState.Posted)
                Cancel(slot, word, now);
        }
    }

    private void EndLost(long now)
    {
        // A loss that this round does not see notes itself after this.
        Interlocked.Exchange(ref _lossNoted, 0);
        Fence.AfterInterlocked();
        foreach (OperationSlot slot in slots)
        {
            long word = slot.Word;
            OperationState state = OperationSlot.StateOf(word);
            if (state is not (OperationState.Posted or OperationState.Queued) || errors.FindLoss(slot) is not { } error || slot.Word != word)
                continue;
            if (state == OperationState.Queued)
                ending.TryFailQueued(slot, word, error);
            else if (slot.TryCancel(word))
                AskWithGrace(slot, now);
            else
                NoteLoss();
        }
    }

    private void AskAgain(long now)
    {
        Interlocked.Exchange(ref _postNoted, 0);
        Fence.AfterInterlocked();
        foreach (OperationSlot slot in slots)
        {
            OperationState state = slot.State;
            // There is no separate grace period, because the request may have been for other operations.
            if (state == OperationState.Cancelling && slot.CancelRequests == 1)
                AskWithGrace(slot, now);
            else if (state is OperationState.Cancelling or OperationState.Abandoned)
                AskToGiveUp(slot);
        }
    }

    private void Cancel(OperationSlot slot, long word, long now)
    {
        if (!slot.TryCancel(word))
        {
            // Its poster is about to queue it, or it has ended. If it is still there, the next round handles it.
            NoteCancel();
            earliest.NoteNow();
            return;
        }
        AskWithGrace(slot, now);
    }

    private void AskWithGrace(OperationSlot slot, long now)
    {
        slot.GraceEnds = now + _cancelGrace;
        _known.Enqueue((slot, slot.Use), slot.GraceEnds);
        earliest.Known = Math.Min(earliest.Known, slot.GraceEnds);
        AskToGiveUp(slot);
    }

    /// <summary>
    /// Asks the transport to cancel an operation: a receive that stayed posted would consume a later message. No other
    /// thread frees the slot meanwhile; see <see cref="OperationEnding.LeaveToTurn"/>.
    /// </summary>
    private void AskToGiveUp(OperationSlot slot)
    {
        slot.CancelRequests++;
        // Written before the call, and only by the holder of the turn. A later poster sees the changed number.
        Volatile.Write(ref _requests, _requests + 1);
        driver.Cancel(slot);
    }
}

/// <summary>The earliest timestamp at which an operation may be overdue. It may be too early, but never too late.</summary>
internal sealed class EarliestDeadline
{
    private long _value = long.MaxValue;
    private long _known = long.MaxValue;

    public long Value => Math.Min(Noted, Known);

    /// <summary>The earliest deadline that was noted since the last round.</summary>
    public long Noted => Volatile.Read(ref _value);

    /// <summary>The earliest deadline among the operations that the last round has seen. To set it, the caller must hold the progress turn.</summary>
    public long Known
    {
        get => Volatile.Read(ref _known);
        set => Volatile.Write(ref _known, value);
    }

    public void Note(long deadline)
    {
        long seen = Volatile.Read(ref _value);
        while (deadline < seen)
        {
            long before = Interlocked.CompareExchange(ref _value, deadline, seen);
            if (before == seen)
                return;
            seen = before;
        }
    }

    /// <summary>
    /// Schedules a turn as soon as possible, because an operation's state already requires a turn to end it.
    /// </summary>
    public void NoteNow()
    {
        Fence.AfterInterlocked();
        Note(long.MinValue);
    }

    /// <summary>
    /// Begins a round over all operations, which records the deadlines of those that it leaves (<see cref="Known"/>). An
    /// operation that the round does not see notes its deadline after this.
    /// </summary>
    public void Reset()
    {
        Interlocked.Exchange(ref _value, long.MaxValue);
        Fence.AfterInterlocked();
    }
}

/// <summary>The clock of deadlines for an endpoint whose callers make progress. It reads the time once per tick of the system.</summary>
/// <remarks>
/// A turn would otherwise read the time twice, and each operation once more. For a sixth of that cost, the system's tick
/// count shows that hardly any time has passed (performance.md). With a clock other than the system's, and for time-outs
/// of less than <see cref="ShortestTimeout"/>, the time is read each time.
/// </remarks>
internal sealed class CoarseClock(TimeProvider time)
{
    /// <summary>
    /// At least as long as a tick: 1 to 10 ms on Linux, 15.6 ms on Windows. If a virtual machine's ticks stop for longer, an
    /// operation may time out early by the difference.
    /// </summary>
    private static readonly TimeSpan Resolution = TimeSpan.FromMilliseconds(16);

    private static readonly TimeSpan ShortestTimeout = TimeSpan.FromSeconds(1);

    private readonly bool _hasTicks = ReferenceEquals(time, TimeProvider.System);
    private readonly long _resolution = (long)(Resolution.TotalSeconds * time.TimestampFrequency);
    private long _tick = -1;
    private long _timestamp;

    /// <summary>Returns the timestamp, at most one tick old. The caller must hold the progress turn.</summary>
    public long Now()
    {
        long tick = Environment.TickCount64;
        if (tick != _tick || !_hasTicks)
        {
            // The tick is written last, so that a thread that sees it also sees the timestamp.
            Volatile.Write(ref _timestamp, time.GetTimestamp());
            Volatile.Write(ref _tick, tick);
        }
        return _timestamp;
    }

    /// <summary>
    /// Returns the start of an operation with that time-out: now, or up to <see cref="Resolution"/> later, so that the
    /// operation does not end early. Any thread may call this.
    /// </summary>
    public long Start(TimeSpan timeout) =>
        _hasTicks && timeout >= ShortestTimeout && Volatile.Read(ref _tick) == Environment.TickCount64
            ? Volatile.Read(ref _timestamp) + _resolution
            : time.GetTimestamp();
}
