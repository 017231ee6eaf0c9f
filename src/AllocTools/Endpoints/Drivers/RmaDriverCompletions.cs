using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Engine;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>Takes what a driver reads: the ends of operations, and notifications of peers. Valid during <see cref="RmaEndpointDriver.ReadCompletions"/> only.</summary>
/// <remarks>
/// <para>
/// Each operation that was posted is reported exactly once, also where it has ended for its caller; a completion may be
/// reported before the call that posted its operation has returned. Operations are used again: one that is reported twice
/// ends another operation while the transport still has its buffer.
/// </para>
/// <para>
/// A report may post before it returns: the next part of the operation, its next stage, or the next operation of a batch. So a
/// driver must not hold a lock that <see cref="RmaEndpointDriver.Post"/> takes, nor go on with a list that posting changes.
/// </para>
/// </remarks>
[Experimental(ExperimentalId.Providers)]
public sealed class RmaDriverCompletions
{
    private readonly OperationSlot[] _slots;
    private readonly OperationDispatch _dispatch;
    private readonly OperationEnding _ending;
    private readonly EndpointErrors _errors;
    private readonly NotificationQueue _notifications;
    private readonly List<RmaHold> _kept = [];

    internal RmaDriverCompletions(OperationSlot[] slots, OperationDispatch dispatch, OperationEnding ending, EndpointErrors errors, NotificationQueue notifications)
    {
        _slots = slots;
        _dispatch = dispatch;
        _ending = ending;
        _errors = errors;
        _notifications = notifications;
    }

    /// <summary>The operation with an index.</summary>
    /// <param name="index"><see cref="RmaDriverOperation.Index"/>.</param>
    public RmaDriverOperation this[int index] => _slots[index];

    /// <summary>An operation, or the part of it that was posted, is done.</summary>
    /// <param name="index">The operation.</param>
    /// <param name="length">Of a receive: the message's length in bytes, also where it is more than the receive's; else not looked at.</param>
    /// <param name="sender">Of a receive: who sent the message; null where that isn't known.</param>
    public void Complete(int index, long length, RmaDriverPeer? sender = null)
    {
        OperationSlot slot = _slots[index];
        long word = slot.Word;
        OperationState state = OperationSlot.StateOf(word);
        if (state is OperationState.Posted or OperationState.Cancelling)
        {
            bool isReceive = slot.Kind == RmaOperationKind.Receive;
            slot.Transferred += isReceive ? length : slot.Length;
            slot.Sender = sender;
            bool isWhole = isReceive || slot.Transferred == slot.WholeLength;
            if (!isWhole && state == OperationState.Posted)
            {
                _dispatch.PostNextPart(slot, OperationSlot.UseOf(word));
                return;
            }
            if (slot.TryEnd(word))
            {
                if (isReceive && slot.Transferred > slot.WholeLength)
                    _ending.Fail(slot, _errors.Truncated(slot.WholeLength, slot.Transferred));
                else if (isWhole)
                    _ending.Succeed(slot);
                else
                    _ending.Fail(slot, _ending.OverdueError(slot, isHeld: false));
                return;
            }
        }
        OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
    }

    /// <summary>
    /// An operation has come to the end of a stage that only the driver knows of, such as a question to the peer, and is to
    /// be posted once more.
    /// </summary>
    /// <param name="index">The operation.</param>
    /// <param name="isNext">Post it now, before anything else; else in its turn, before all that wait.</param>
    /// <returns>False: it is being cancelled, or has ended for its caller. Report its end.</returns>
    public bool TryContinue(int index, bool isNext)
    {
        OperationSlot slot = _slots[index];
        long word = slot.Word;
        if (OperationSlot.StateOf(word) != OperationState.Posted)
            return false;
        if (isNext)
            _dispatch.PostNextPart(slot, OperationSlot.UseOf(word));
        else
            _dispatch.QueueFirst(slot, OperationSlot.UseOf(word));
        return true;
    }

    /// <summary>The transport has given an operation up, as it was asked to.</summary>
    /// <param name="index">The operation.</param>
    public void Cancelled(int index) => Fail(index, EndpointErrors.Canceled, "");

    /// <summary>A message was longer than its receive, and is lost.</summary>
    /// <param name="index">The receive.</param>
    /// <param name="messageLength">The message's length in bytes; null where the transport does not report it.</param>
    public void FailTruncated(int index, long? messageLength)
    {
        OperationSlot slot = _slots[index];
        End(slot, slot.Word, _errors.Truncated(slot.WholeLength, messageLength));
    }

    /// <summary>An operation has failed.</summary>
    /// <param name="index">The operation.</param>
    /// <param name="error">The transport's code, positive.</param>
    /// <param name="detail">What the transport says besides, without a full stop; empty for nothing.</param>
    public void Fail(int index, int error, string detail)
    {
        OperationSlot slot = _slots[index];
        long word = slot.Word;
        OperationState state = OperationSlot.StateOf(word);
        if (state is OperationState.Posted or OperationState.Cancelling)
        {
            End(slot, word, error == EndpointErrors.Canceled && state == OperationState.Cancelling
                ? _ending.OverdueError(slot, isHeld: false)
                : _errors.Failed(slot, error, detail));
        }
        else
        {
            OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
        }
    }

    /// <summary>A peer's write has brought a number: its bytes are there.</summary>
    /// <param name="value">The number.</param>
    /// <param name="sender">Whose write it was; null where that isn't known.</param>
    public void Notify(ulong value, RmaDriverPeer? sender) => _notifications.Add(value, _errors.PeerOf(sender));

    /// <summary>No completion of an operation will come, because another peer is lost: it ends.</summary>
    /// <param name="index">The operation.</param>
    /// <param name="heldUpBy">The peer that is lost, such as "peer 3".</param>
    /// <param name="keepBuffer">The operation's own peer may still touch the buffer: it stays in quarantine until the endpoint is closed.</param>
    /// <returns>False: its caller is just being notified; ask again later.</returns>
    public bool TryGiveUp(int index, string heldUpBy, bool keepBuffer)
    {
        OperationSlot slot = _slots[index];
        long word = slot.Word;
        if (OperationSlot.StateOf(word) is OperationState.Posted or OperationState.Cancelling)
            _ending.TryAbandon(slot, word, _errors.FindLoss(slot) as Exception ?? _errors.HeldUp(slot, heldUpBy));
        if (slot.State != OperationState.Abandoned)
            return slot.State is OperationState.Free or OperationState.Ended;
        if (keepBuffer)
            _kept.Add(slot.TakeHold());
        OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
        return true;
    }

    /// <summary>Gives back what was kept for peers that might still touch it.</summary>
    internal void ReleaseKept()
    {
        foreach (RmaHold kept in _kept)
        {
            RmaHold hold = kept;
            hold.Release();
        }
        _kept.Clear();
    }

    private void End(OperationSlot slot, long word, Exception error)
    {
        if (OperationSlot.StateOf(word) is OperationState.Posted or OperationState.Cancelling && slot.TryEnd(word))
            _ending.Fail(slot, error);
        else
            OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
    }
}
