using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>Finds the operations whose time is over or that were cancelled, and ends them.</summary>
/// <remarks>
/// The turn first asks the transport to give a posted one up, and abandons it after the grace: a receive that stayed
/// posted would swallow a later message. Where the turn is stuck in the transport, it is not asked. A request may come
/// before the call that posts, which then says so: the transport is asked once more.
/// </remarks>
internal sealed class OverdueOperations(
    OperationSlot[] slots, RmaEndpointDriver driver, EndpointErrors errors, OperationEnding ending, EarliestDeadline earliest, TimeProvider time)
{
    /// <summary>How long an await goes on after cancelling, for the transport to say whether it gave up.</summary>
    public static readonly TimeSpan CancelGrace = TimeSpan.FromMilliseconds(100);

    private readonly long _cancelGrace = (long)(CancelGrace.TotalSeconds * time.TimestampFrequency);
    private int _cancelNoted;
    private int _lossNoted;
    private int _postNoted;
    private int _requests;

    /// <summary>How often the transport was asked to give an operation up. Any thread may call this.</summary>
    public int Requests => Volatile.Read(ref _requests);

    /// <summary>Somebody's operation is to be cancelled.</summary>
    public void NoteCancel() => Interlocked.Exchange(ref _cancelNoted, 1);

    /// <summary>A peer is lost: a turn ends what is outstanding with it.</summary>
    public void NoteLoss() => Interlocked.Exchange(ref _lossNoted, 1);

    /// <summary>An operation was posted, and <see cref="Requests"/> has changed meanwhile: that request may have been for it, and too early.</summary>
    public void NotePost() => Interlocked.Exchange(ref _postNoted, 1);

    /// <summary>Ends what is due. The caller must hold the progress turn.</summary>
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
        earliest.Reset();
        foreach (OperationSlot slot in slots)
        {
            long word = slot.Word;
            OperationState state = OperationSlot.StateOf(word);
            if (state == OperationState.Unposted)
                ending.TryFailQueued(slot, word, ending.OverdueError(slot, isHeld: false));
            else if (state == OperationState.Refused)
                OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
            else if (state == OperationState.Abandoned && slot.CancelRequests == 0)
                AskToGiveUp(slot);
            if (state is not (OperationState.Posted or OperationState.Queued or OperationState.Cancelling))
                continue;
            long deadline = state == OperationState.Cancelling ? slot.GraceEnds : slot.Deadline;
            if (slot.Word != word)
                earliest.NoteNow();
            else if (deadline > now)
                earliest.Note(deadline);
            else if (state == OperationState.Queued)
                ending.TryFailQueued(slot, word, ending.OverdueError(slot, isHeld: false));
            else if (state == OperationState.Posted)
                Cancel(slot, word, now);
            else
                ending.TryAbandon(slot, word, ending.OverdueError(slot, isHeld: true));
        }
    }

    /// <summary>Ends what is due while the turn is stuck. Any thread may call this.</summary>
    public void EndWithoutTurn(long now)
    {
        foreach (OperationSlot slot in slots)
        {
            long word = slot.Word;
            OperationState state = OperationSlot.StateOf(word);
            bool isPosted = state is OperationState.Posted or OperationState.Cancelling;
            bool isDue = slot.Deadline <= now || slot.CancelRequested || (isPosted || state is OperationState.Queued) && errors.FindLoss(slot) is not null;
            // A word that is still the same: what was read is of this use.
            if (!isDue || slot.Word != word)
                continue;
            if (isPosted)
                ending.TryAbandon(slot, word, ending.OverdueError(slot, isHeld: true));
            else if (state is OperationState.Queued)
                ending.TryFailQueued(slot, word, ending.OverdueError(slot, isHeld: false));
            else if (state is OperationState.Unposted)
                ending.TryNotifyUnposted(slot, word, ending.OverdueError(slot, isHeld: false));
        }
        // When the turn comes back it asks the transport to give up what was abandoned here.
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
            // Not a grace for each: the request may have been for others.
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
            // Its poster is about to queue it, or it was ended; if it is there next time it is dealt with then.
            NoteCancel();
            earliest.NoteNow();
            return;
        }
        AskWithGrace(slot, now);
    }

    private void AskWithGrace(OperationSlot slot, long now)
    {
        slot.GraceEnds = now + _cancelGrace;
        earliest.Note(slot.GraceEnds);
        AskToGiveUp(slot);
    }

    /// <summary>A receive that stayed posted would swallow a later message. No other thread frees the slot meanwhile: see <see cref="OperationEnding.LeaveToTurn"/>.</summary>
    private void AskToGiveUp(OperationSlot slot)
    {
        slot.CancelRequests++;
        // Before the call, and written by the turn's holder only: a poster that comes after it sees the number changed.
        Volatile.Write(ref _requests, _requests + 1);
        driver.Cancel(slot);
    }
}
