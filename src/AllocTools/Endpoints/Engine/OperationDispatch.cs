using AllocTools.Libfabric;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>Posts operations, at once or by a later turn, and keeps the order of those to one peer.</summary>
/// <remarks>Once the transport took an operation, its slot may be freed before the call returns: it is not touched any more.</remarks>
internal sealed class OperationDispatch
{
    private readonly LibfabricContext _context;
    private readonly OperationPoster _poster;
    private readonly RetryQueue _retries;
    private readonly OperationEnding _ending;
    private readonly PeerLosses _losses;
    private readonly OverdueOperations _overdue;
    private readonly ProgressTurn _turn;
    private readonly bool _turnPostsAll;
    private readonly bool _callersTakeTurn;

    // Used by the turn's holder only, and empty between turns.
    private readonly List<(OperationSlot Slot, long Use)> _round = [];
    private readonly HashSet<ulong> _full = [];

    /// <param name="context">The endpoint's context.</param>
    /// <param name="poster">Makes the native calls.</param>
    /// <param name="retries">Where those wait that are posted later.</param>
    /// <param name="ending">Ends those that the transport refuses.</param>
    /// <param name="losses">Looks after peers for whom the transport takes nothing.</param>
    /// <param name="overdue">Ends those whose time is over, maybe while they are posted.</param>
    /// <param name="turn">Who makes progress.</param>
    /// <param name="hasOwnThread">A thread of the endpoint makes progress.</param>
    public OperationDispatch(
        LibfabricContext context, OperationPoster poster, RetryQueue retries, OperationEnding ending, PeerLosses losses, OverdueOperations overdue, ProgressTurn turn, bool hasOwnThread)
    {
        _context = context;
        _poster = poster;
        _retries = retries;
        _ending = ending;
        _losses = losses;
        _overdue = overdue;
        _turn = turn;
        // shm's processes lock each other's memory. One that is killed there leaves the lock behind, and whoever posts to
        // it spins for ever: that may be the endpoint's own thread, which is watched, and never a caller.
        bool isShared = LibfabricDiscovery.IsSharedMemory(context.Traits.ProviderName);
        _turnPostsAll = isShared && hasOwnThread;
        // shm of libfabric 1.x looks for a receive and queues an unexpected message in two steps: a receive that is
        // posted between them, while another thread makes progress, never meets its message. And a turn may close the
        // native endpoint (TransmitLanes) that another operation is just posted to.
        _callersTakeTurn = isShared && !hasOwnThread;
    }

    /// <summary>Something waits to be posted, and needs turns to get on.</summary>
    public bool HasRetries => !_retries.IsEmpty;

    /// <summary>Posts an operation with a task; whatever becomes of it, the task says.</summary>
    public void Post(OperationSlot slot)
    {
        long use = slot.Use;
        nint status = TryPostNow(slot);
        if (status == -FiErrno.FI_EAGAIN)
            Queue(slot, use);
        else if (status != 0)
            _ending.FailUnposted(slot, use, (int)status);
    }

    /// <summary>Posts an operation without a task.</summary>
    /// <returns>False where the transport would not take it; the slot is free again.</returns>
    public bool TryPost(OperationSlot slot)
    {
        long use = slot.Use;
        if (_turnPostsAll)
        {
            Queue(slot, use);
            return true;
        }
        RmaOperationKind kind = slot.Kind;
        long length = slot.Length;
        nint status = TryPostNow(slot);
        if (status == 0)
            return true;
        if (!slot.TryChange(use, OperationState.Posted, OperationState.Ended))
        {
            _ending.LeaveToTurn(slot, use);
            return true;
        }
        if (status == -FiErrno.FI_EAGAIN)
            _losses.NoteRefusedOnce(slot);
        RmaPeerLostException? lost = status == -FiErrno.FI_EAGAIN ? null : _losses.Note(slot, (int)status);
        slot.ReleaseByFabric();
        return status == -FiErrno.FI_EAGAIN ? false : throw lost ?? (Exception) LibfabricErrors.Operation(_context.Library, _context.Traits.ProviderName, kind, length, (int)status);
    }

    /// <summary>Leaves an operation to a later turn, behind those that wait already.</summary>
    public void Queue(OperationSlot slot, long use) => Queue(slot, use, first: false);

    /// <summary>Posts what waits, as far as the transport takes it. The caller must hold the progress turn.</summary>
    public bool PostRetries()
    {
        bool happened = false;
        _retries.CopyTo(_round);
        foreach ((OperationSlot slot, long use) in _round)
        {
            // One whose poster has not said yet that it is here is next turn's; it must not be overtaken either.
            if (_full.Contains(slot.Peer))
                continue;
            if (!slot.TryChange(use, OperationState.Queued, OperationState.Posted))
            {
                _full.Add(slot.Peer);
                continue;
            }
            nint status = _poster.Post(slot);
            if (status == -FiErrno.FI_EAGAIN && slot.TryChange(use, OperationState.Posted, OperationState.Queued))
            {
                // The peer's later ones must not overtake it; other peers may have room.
                _full.Add(slot.Peer);
                _losses.NoteRefused(slot);
                continue;
            }
            happened = true;
            // Its place is given up only now; nobody but the turn's holder frees a slot that was posted.
            _retries.Remove(slot);
            if (status == -FiErrno.FI_EAGAIN)
                _ending.LeaveToTurn(slot, use);
            else if (status != 0)
                _ending.FailUnposted(slot, use, (int)status);
        }
        _round.Clear();
        _full.Clear();
        return happened;
    }

    /// <summary>Goes on with one that is longer than the transport's messages. The caller must hold the progress turn.</summary>
    public void PostNextPart(OperationSlot slot, long use)
    {
        nint status = _poster.Post(slot);
        if (status == -FiErrno.FI_EAGAIN)
            Queue(slot, use, first: true);
        else if (status != 0)
            _ending.FailUnposted(slot, use, (int)status);
    }

    /// <summary>Leaves an operation to a later turn, before those that wait already.</summary>
    public void QueueFirst(OperationSlot slot, long use) => Queue(slot, use, first: true);

    private void Queue(OperationSlot slot, long use, bool first)
    {
        if (first)
            _retries.AddFirst(slot);
        else
            _retries.Add(slot);
        if (slot.TryChange(use, OperationState.Posted, OperationState.Queued))
            return;
        _retries.Remove(slot);
        _ending.LeaveToTurn(slot, use);
    }

    private nint TryPostNow(OperationSlot slot)
    {
        if (_turnPostsAll || _retries.HoldsUp(slot.Peer))
            return -FiErrno.FI_EAGAIN;
        return _callersTakeTurn ? PostInTurn(slot) : PostBesideTurn(slot);
    }

    private nint PostInTurn(OperationSlot slot)
    {
        _turn.Take();
        try
        {
            if (slot.State != OperationState.Posted)
                return -FiErrno.FI_ECANCELED;
            nint status = _poster.Post(slot);
            // It is queued or failed after the turn.
            if (status != 0)
                slot.Lane = null;
            return status;
        }
        finally
        {
            _turn.Release();
        }
    }

    private nint PostBesideTurn(OperationSlot slot)
    {
        int requests = _overdue.Requests;
        // Cancelled or overdue at once: the transport could not be asked to give up what it has not got.
        if (slot.State != OperationState.Posted)
            return -FiErrno.FI_ECANCELED;
        nint status = _poster.Post(slot);
        // Nor while it was being posted: net's lock may be waited for longer than an operation has time.
        if (requests != _overdue.Requests)
            _overdue.NotePost();
        return status;
    }
}
