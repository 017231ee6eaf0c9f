using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints.Engine;

/// <summary>
/// Keeps, in order, operations that are not posted yet because the transport did not accept them
/// (<see cref="RmaPostStatus.Full"/>) or slots had run out.
/// </summary>
/// <remarks>
/// While an operation of a peer is here, later operations to that peer queue behind it, so that the order of the calls
/// is kept; other peers are not delayed. All receives count as one peer. An operation is added before its state changes,
/// and its place is released only after it was posted or ended. The slots are the links of the list, so that the list
/// allocates nothing.
/// </remarks>
internal sealed class RetryQueue
{
    private readonly Lock _gate = new();
    private OperationSlot? _first;
    private OperationSlot? _last;
    private int _count;
    private int _receives;

    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>Whether an operation to that peer would overtake one that is here; null stands for receives.</summary>
    public bool HoldsUp(RmaDriverPeer? peer) => !IsEmpty && (peer is null ? Volatile.Read(ref _receives) : peer.Queued) != 0;

    public void Add(OperationSlot slot)
    {
        lock (_gate)
        {
            Link_NeedsLock(_last, slot, null);
            Count_NeedsLock(slot.Peer, +1);
        }
    }

    public void AddFirst(OperationSlot slot)
    {
        lock (_gate)
        {
            Link_NeedsLock(null, slot, _first);
            Count_NeedsLock(slot.Peer, +1);
        }
    }

    /// <summary>Copies the operations that are here now, in order, each with the number of its use.</summary>
    public void CopyTo(List<(OperationSlot Slot, long Use)> slots)
    {
        lock (_gate)
        {
            for (OperationSlot? slot = _first; slot is not null; slot = slot.NextRetry)
                slots.Add((slot, slot.Use));
        }
    }

    /// <summary>Removes an operation, if it is here.</summary>
    public void Remove(OperationSlot slot)
    {
        lock (_gate)
        {
            if (slot.PreviousRetry is null && _first != slot)
                return;
            if (slot.PreviousRetry is { } previous)
                previous.NextRetry = slot.NextRetry;
            else
                _first = slot.NextRetry;
            if (slot.NextRetry is { } next)
                next.PreviousRetry = slot.PreviousRetry;
            else
                _last = slot.PreviousRetry;
            slot.PreviousRetry = slot.NextRetry = null;
            Count_NeedsLock(slot.Peer, -1);
        }
    }

    private void Link_NeedsLock(OperationSlot? previous, OperationSlot slot, OperationSlot? next)
    {
        slot.PreviousRetry = previous;
        slot.NextRetry = next;
        if (previous is null)
            _first = slot;
        else
            previous.NextRetry = slot;
        if (next is null)
            _last = slot;
        else
            next.PreviousRetry = slot;
    }

    private void Count_NeedsLock(RmaDriverPeer? peer, int step)
    {
        if (peer is null)
            Volatile.Write(ref _receives, _receives + step);
        else
            peer.Queued += step;
        Volatile.Write(ref _count, _count + step);
    }
}
