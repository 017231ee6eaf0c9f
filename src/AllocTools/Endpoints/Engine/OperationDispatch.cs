using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints.Engine;

/// <summary>Posts operations, at once or by a later turn, and keeps the order of those to one peer.</summary>
/// <remarks>Once the transport took an operation, its slot may be freed before the call returns: it is not touched any more.</remarks>
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

    // Used by the turn's holder only, and empty between turns.
    private readonly List<(OperationSlot Slot, long Use)> _round = [];
    private readonly HashSet<RmaDriverPeer> _full = [];
    private bool _receivesAreFull;

    /// <param name="driver">Makes the transport's calls.</param>
    /// <param name="errors">What failures say.</param>
    /// <param name="longestPart">The bytes that the transport moves at once, for a read or a write.</param>
    /// <param name="retries">Where those wait that are posted later.</param>
    /// <param name="ending">Ends those that the transport refuses.</param>
    /// <param name="overdue">Ends those whose time is over, maybe while they are posted.</param>
    /// <param name="turn">Who makes progress.</param>
    /// <param name="hasOwnThread">A thread of the endpoint makes progress.</param>
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
        // A call that does not return may only be the endpoint's own thread's, which is watched, and never a caller's.
        _turnPostsAll = hasOwnThread && (driver.MayHangOnDeadPeers || !driver.PostsBesideProgress);
        _callersTakeTurn = !hasOwnThread && !driver.PostsBesideProgress;
    }

    /// <summary>Called with what a driver has thrown: the endpoint can't go on.</summary>
    public Action<Exception> OnDriverFailed { private get; set; } = static _ => { };

    /// <summary>Only the endpoint's own thread may enter the transport.</summary>
    public bool TurnPostsAll => _turnPostsAll;

    /// <summary>Something waits to be posted, and needs turns to get on.</summary>
    public bool HasRetries => !_retries.IsEmpty;

    /// <summary>Posts an operation with a task; whatever becomes of it, the task says.</summary>
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
    /// <returns>False where the transport would not take it; the slot is free again.</returns>
    public bool TryPost(OperationSlot slot)
    {
        long use = slot.Use;
        if (_turnPostsAll)
        {
            Queue(slot, use, first: false);
            return true;
        }
        // What waits before it has been reported as refused by itself; of this one the transport knows nothing.
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
    /// <param name="inTurn">The caller holds the progress turn.</param>
    /// <returns>What became of it. <see cref="RmaPostStatus.Full"/> where it must wait for others, too: queue it.</returns>
    public RmaPostStatus PostOfBatch(OperationSlot slot, bool inTurn)
    {
        long use = slot.Use;
        RmaPostResult result = !inTurn ? PostNow(slot) : _retries.HoldsUp(slot.Peer) ? RmaPostResult.Full : PostPart(slot);
        if (result.Status is RmaPostStatus.Done or RmaPostStatus.Refused)
            OnPosted(slot, use, result);
        return result.Status;
    }

    /// <summary>Leaves an operation to a later turn, behind those that wait already.</summary>
    /// <returns>False: it has ended meanwhile.</returns>
    public bool Queue(OperationSlot slot, long use) => Queue(slot, use, first: false);

    /// <summary>Posts what waits, as far as the transport takes it. The caller must hold the progress turn.</summary>
    public bool PostRetries()
    {
        bool happened = false;
        _retries.CopyTo(_round);
        foreach ((OperationSlot slot, long use) in _round)
        {
            // One whose poster has not said yet that it is here is next turn's; it must not be overtaken either.
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
                // The peer's later ones must not overtake it; other peers may have room.
                NoteFull(slot.Peer);
                _driver.OnFull(slot, _time.GetElapsedTime(slot.Started));
                continue;
            }
            happened = true;
            // Its place is given up only now; only the turn's holder frees a slot that was posted.
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

    /// <summary>Goes on with one that is longer than the transport's messages. The caller must hold the progress turn.</summary>
    public void PostNextPart(OperationSlot slot, long use)
    {
        slot.EndMore();
        RmaPostResult result = PostPart(slot);
        if (result.Status == RmaPostStatus.Full)
            Queue(slot, use, first: true);
        else if (result.Status != RmaPostStatus.Posted)
            OnPosted(slot, use, result);
    }

    /// <summary>Leaves an operation to a later turn, before those that wait already.</summary>
    public void QueueFirst(OperationSlot slot, long use) => Queue(slot, use, first: true);

    /// <summary>Ends one that is done already, or refused.</summary>
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
            // Of whatever kind: what the transport has got is unknown. What is outstanding ends, and this operation with it.
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
        // Cancelled or overdue at once: the transport could not be asked to give up what it has not got.
        if (slot.State != OperationState.Posted)
            return RmaPostResult.Refused(EndpointErrors.Canceled);
        RmaPostResult result = PostPart(slot);
        // Nor while it was being posted: net's lock may be waited for longer than an operation has time.
        if (requests != _overdue.Requests)
            _overdue.NotePost();
        return result;
    }
}
