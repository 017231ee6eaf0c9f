using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Engine;
using AllocTools.Providers;

namespace AllocTools.Endpoints.Drivers;

/// <summary>Receives the completions and peers' notifications that a driver reads. Valid only during <see cref="RmaEndpointDriver.ReadCompletions"/>.</summary>
/// <remarks>
/// <para>
/// Each posted operation must be reported exactly once, even if it has already ended for its caller. A completion may be
/// reported before the call that posted its operation has returned. Operation objects are reused: reporting one twice
/// would end another operation while the transport still uses its buffer.
/// </para>
/// <para>
/// A report may post before it returns: the next part of the operation, its next stage, or the next operation of a
/// batch. So a driver must not hold a lock that <see cref="RmaEndpointDriver.Post"/> takes, nor continue to enumerate a
/// list that posting changes.
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

    /// <summary>Gets the operation with an index.</summary>
    /// <param name="index"><see cref="RmaDriverOperation.Index"/>.</param>
    public RmaDriverOperation this[int index] => _slots[index];

    /// <summary>Reports that an operation, or the posted part of it, has completed.</summary>
    /// <param name="index">The operation.</param>
    /// <param name="length">For a receive: the message's length in bytes, even if it exceeds the receive's length; otherwise ignored.</param>
    /// <param name="sender">For a receive: the sender of the message; null if it isn't known.</param>
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
    /// Reports that an operation has completed a stage that only the driver knows, such as a query to the peer, and must be posted again.
    /// </summary>
    /// <param name="index">The operation.</param>
    /// <param name="isNext">Whether to post it now, before anything else. Otherwise a later turn posts it, before all waiting operations.</param>
    /// <returns>False if the operation is being cancelled, or has ended for its caller; report its end.</returns>
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

    /// <summary>Reports that the transport has cancelled an operation on request.</summary>
    /// <param name="index">The operation.</param>
    public void Cancelled(int index) => Fail(index, EndpointErrors.Canceled, "");

    /// <summary>Reports that a message was longer than its receive, and is lost.</summary>
    /// <param name="index">The receive.</param>
    /// <param name="messageLength">The message's length in bytes; null if the transport does not report it.</param>
    public void FailTruncated(int index, long? messageLength)
    {
        OperationSlot slot = _slots[index];
        End(slot, slot.Word, _errors.Truncated(slot.WholeLength, messageLength));
    }

    /// <summary>Reports that an operation has failed.</summary>
    /// <param name="index">The operation.</param>
    /// <param name="error">The transport's code, positive.</param>
    /// <param name="detail">Further details from the transport, without a full stop; may be empty.</param>
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

    /// <summary>Reports the notification of a peer's write, whose bytes are in memory.</summary>
    /// <param name="value">The number.</param>
    /// <param name="sender">The writer; null if it isn't known.</param>
    public void Notify(ulong value, RmaDriverPeer? sender) => _notifications.Add(value, _errors.PeerOf(sender));

    /// <summary>Ends an operation that will never complete, because another peer is lost.</summary>
    /// <param name="index">The operation.</param>
    /// <param name="heldUpBy">The lost peer, such as "peer 3".</param>
    /// <param name="keepBuffer">Whether the operation's own peer may still access the buffer, which then stays
    /// quarantined until the endpoint is closed.</param>
    /// <returns>False if its caller is being notified right now; try again later.</returns>
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

    /// <summary>Releases the buffers that were kept for peers that might still access them.</summary>
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
