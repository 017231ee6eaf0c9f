using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints.Engine;

/// <summary>Posts operations, immediately or in a later turn, and keeps the order of those to one peer.</summary>
/// <remarks>
/// Once the transport has accepted an operation, its slot may be freed before the call returns, so the slot is not
/// accessed any more.
/// </remarks>
internal sealed class OperationDispatch
{
    private readonly RmaEndpointDriver _driver;
    private readonly EndpointErrors _errors;
    private readonly long _longestPart;
    private readonly TimeProvider _time;
    private readonly RetryQueue _retries;
    private readonly OperationEnding _ending;
    private readonly OverdueOperations _overdue;
    private readonly ProgressTurn _turn;
    private readonly bool _turnPostsAll;
    private readonly bool _callersTakeTurn;

    // Used only by the turn's holder, and empty between turns.
    private readonly List<(OperationSlot Slot, long Use)> _round = [];
    private readonly HashSet<RmaDriverPeer> _full = [];
    private bool _receivesAreFull;

    /// <param name="driver">Makes the transport's calls.</param>
    /// <param name="errors">Creates the errors.</param>
    /// <param name="longestPart">The maximum number of bytes of a read or write that the transport moves in one part.</param>
    /// <param name="retries">The queue of operations that are posted later.</param>
    /// <param name="ending">Ends operations that the transport refuses.</param>
    /// <param name="overdue">Ends overdue operations, possibly while they are being posted.</param>
    /// <param name="turn">The progress turn.</param>
    /// <param name="hasOwnThread">Whether a thread of the endpoint makes progress.</param>
    /// <param name="time">The clock.</param>
    public OperationDispatch(
        RmaEndpointDriver driver, EndpointErrors errors, long longestPart, RetryQueue retries, OperationEnding ending, OverdueOperations overdue, ProgressTurn turn, bool hasOwnThread, TimeProvider time)
    {
        _driver = driver;
        _errors = errors;
        _longestPart = longestPart;
        _retries = retries;
        _ending = ending;
        _overdue = overdue;
        _turn = turn;
        _time = time;
        // A call that might not return is left to the endpoint's own thread, which is monitored; a caller must never make it.
        _turnPostsAll = hasOwnThread && (driver.MayHangOnDeadPeers || !driver.PostsBesideProgress);
        _callersTakeTurn = !hasOwnThread && !driver.PostsBesideProgress;
    }

    /// <summary>Called with an exception of the driver, after which the endpoint can't continue.</summary>
    public Action<Exception> OnDriverFailed { private get; set; } = static _ => { };

    /// <summary>Whether only the endpoint's own thread may call the transport.</summary>
    public bool TurnPostsAll => _turnPostsAll;

    /// <summary>Whether operations are waiting to be posted, and need turns.</summary>
    public bool HasRetries => !_retries.IsEmpty;

    /// <summary>Posts an operation with a task, which receives the result in any case.</summary>
    public void Post(OperationSlot slot)
    {
        long use = slot.Use;
        RmaPostResult result = PostNow(slot);
        if (result.Status == RmaPostStatus.Full)
            Queue(slot, use, first: false);
        else if (result.Status != RmaPostStatus.Posted)
            OnPosted(slot, use, result);
    }

    /// <summary>Posts an operation without a task.</summary>
    /// <returns>False if the transport did not accept it; the slot is free again.</returns>
    public bool TryPost(OperationSlot slot)
    {
        long use = slot.Use;
        if (_turnPostsAll)
        {
            Queue(slot, use, first: false);
            return true;
        }
        // If an earlier operation waits, that one reports its own refusal; the transport was not offered this one.
        bool isHeldUp = _retries.HoldsUp(slot.Peer);
        RmaPostResult result = isHeldUp ? RmaPostResult.Full : PostUnqueued(slot);
        if (result.Status == RmaPostStatus.Posted)
            return true;
        if (result.Status == RmaPostStatus.Done)
        {
            OnPosted(slot, use, result);
            return true;
        }
        RmaOperationException? error = null;
        if (result.Status != RmaPostStatus.Full)
            error = _errors.Failed(slot, result.Error, null);
        else if (!isHeldUp)
            _driver.OnFull(slot, null);
        if (!slot.TryEndUnposted(use))
        {
            _ending.LeaveToTurn(slot, use);
            return true;
        }
        slot.ReleaseByFabric();
        return error is null ? false : throw error;
    }

    /// <summary>Posts an operation of a batch.</summary>
    /// <param name="slot">The operation.</param>
    /// <param name="inTurn">Whether the caller holds the progress turn.</param>
    /// <returns>The result. <see cref="RmaPostStatus.Full"/> also if it must wait for other operations: queue it.</returns>
    public RmaPostStatus PostOfBatch(OperationSlot slot, bool inTurn)
    {
        long use = slot.Use;
        RmaPostResult result = !inTurn ? PostNow(slot) : _retries.HoldsUp(slot.Peer) ? RmaPostResult.Full : PostPart(slot);
        if (result.Status is RmaPostStatus.Done or RmaPostStatus.Refused)
            OnPosted(slot, use, result);
        return result.Status;
    }

    /// <summary>Leaves an operation to a later turn, after those that already wait.</summary>
    /// <returns>False if the operation has already ended.</returns>
    public bool Queue(OperationSlot slot, long use) => Queue(slot, use, first: false);

    /// <summary>Posts waiting operations, as far as the transport accepts them. The caller must hold the progress turn.</summary>
    public bool PostRetries()
    {
        bool happened = false;
        _retries.CopyTo(_round);
        foreach ((OperationSlot slot, long use) in _round)
        {
            // An operation that its poster has not yet marked as queued is left to the next turn, and must not be overtaken either.
            if (IsFull(slot.Peer))
                continue;
            if (!slot.TryRepost(use))
            {
                NoteFull(slot.Peer);
                continue;
            }
            BatchRun? batch = slot.Batch;
            long ticket = slot.Ticket;
            RmaPostResult result = PostPart(slot);
            bool isFull = result.Status == RmaPostStatus.Full;
            if (isFull && slot.TryQueue(use))
            {
                // The peer's later operations must not overtake it; other peers may have room.
                NoteFull(slot.Peer);
                _driver.OnFull(slot, _time.GetElapsedTime(slot.Started));
                continue;
            }
            happened = true;
            // Its place is released only now. The slot is still valid, because only the turn's holder frees one that was posted.
            _retries.Remove(slot);
            if (isFull)
                _ending.LeaveToTurn(slot, use);
            else if (result.Status != RmaPostStatus.Posted)
                OnPosted(slot, use, result);
            batch?.OnLeftQueue(ticket);
        }
        _round.Clear();
        _full.Clear();
        _receivesAreFull = false;
        return happened;
    }

    /// <summary>
    /// Posts the next part of an operation that is longer than the transport's messages. The caller must hold the
    /// progress turn.
    /// </summary>
    public void PostNextPart(OperationSlot slot, long use)
    {
        slot.EndMore();
        RmaPostResult result = PostPart(slot);
        if (result.Status == RmaPostStatus.Full)
            Queue(slot, use, first: true);
        else if (result.Status != RmaPostStatus.Posted)
            OnPosted(slot, use, result);
    }

    /// <summary>Leaves an operation to a later turn, before those that already wait.</summary>
    public void QueueFirst(OperationSlot slot, long use) => Queue(slot, use, first: true);

    /// <summary>Ends an operation that has already completed, or was refused.</summary>
    private void OnPosted(OperationSlot slot, long use, RmaPostResult result)
    {
        while (result.Status == RmaPostStatus.Done)
        {
            bool isReceive = slot.Kind == RmaOperationKind.Receive;
            slot.Transferred += isReceive ? result.Length : slot.Length;
            if (isReceive || slot.Transferred == slot.WholeLength)
            {
                if (slot.TryEndUnposted(use))
                    _ending.Succeed(slot);
                else
                    _ending.LeaveToTurn(slot, use);
                return;
            }
            result = PostPart(slot);
        }
        if (result.Status == RmaPostStatus.Full)
            Queue(slot, use, first: true);
        else if (result.Status == RmaPostStatus.Refused)
            _ending.FailUnposted(slot, use, _errors.Failed(slot, result.Error, null));
    }

    private bool IsFull(RmaDriverPeer? peer) => peer is null ? _receivesAreFull : _full.Contains(peer);

    private void NoteFull(RmaDriverPeer? peer)
    {
        if (peer is null)
            _receivesAreFull = true;
        else
            _full.Add(peer);
    }

    private bool Queue(OperationSlot slot, long use, bool first)
    {
        slot.EndMore();
        if (first)
            _retries.AddFirst(slot);
        else
            _retries.Add(slot);
        if (slot.TryQueue(use))
            return true;
        _retries.Remove(slot);
        _ending.LeaveToTurn(slot, use);
        return false;
    }

    private RmaPostResult PostPart(OperationSlot slot)
    {
        slot.SelectPart(_longestPart);
        try
        {
            return _driver.Post(slot);
        }
        catch (Exception e)
        {
            // All exceptions are caught, because it is unknown what the transport has received. All outstanding
            // operations end, including this one.
            OnDriverFailed(e);
            return RmaPostResult.Refused(EndpointErrors.IoError);
        }
    }

    private RmaPostResult PostNow(OperationSlot slot) =>
        _turnPostsAll || _retries.HoldsUp(slot.Peer) ? RmaPostResult.Full : PostUnqueued(slot);

    private RmaPostResult PostUnqueued(OperationSlot slot) => _callersTakeTurn ? PostInTurn(slot) : PostBesideTurn(slot);

    private RmaPostResult PostInTurn(OperationSlot slot)
    {
        _turn.Take();
        try
        {
            return slot.State == OperationState.Posted ? PostPart(slot) : RmaPostResult.Refused(EndpointErrors.Canceled);
        }
        finally
        {
            _turn.Release();
        }
    }

    private RmaPostResult PostBesideTurn(OperationSlot slot)
    {
        int requests = _overdue.Requests;
        // The operation was cancelled or overdue at once. The transport can't be asked to cancel an operation that it has not received.
        if (slot.State != OperationState.Posted)
            return RmaPostResult.Refused(EndpointErrors.Canceled);
        RmaPostResult result = PostPart(slot);
        // The same may happen during the call, which may wait for a lock of the net provider for longer than an operation may take.
        if (requests != _overdue.Requests)
            _overdue.NotePost();
        return result;
    }
}
