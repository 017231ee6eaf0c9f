namespace AllocTools.Libfabric;

/// <summary>Operations that are not posted yet, in order: the transport took nothing (-FI_EAGAIN), or slots had run out.</summary>
/// <remarks>
/// While one of a peer is here, later operations to that peer queue behind it, so that the order of the calls is kept;
/// other peers are not held up. Receives count as one peer of their own. Its place is given up only after it was posted.
/// Only whoever holds the progress turn takes from it. Never longer than there are slots.
/// </remarks>
internal sealed class RetryQueue
{
    private readonly Lock _gate = new();
    private readonly LinkedList<OperationSlot> _slots = new();
    private readonly Dictionary<ulong, int> _countByPeer = [];
    private int _count;

    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>An operation to that peer would overtake one that is here.</summary>
    public bool HoldsUp(ulong peer)
    {
        if (IsEmpty)
            return false;
        lock (_gate)
            return _countByPeer.ContainsKey(peer);
    }

    public void Add(OperationSlot slot)
    {
        lock (_gate)
        {
            _slots.AddLast(slot);
            Count_NeedsLock(slot.Peer, +1);
        }
    }

    public void AddFirst(OperationSlot slot)
    {
        lock (_gate)
        {
            _slots.AddFirst(slot);
            Count_NeedsLock(slot.Peer, +1);
        }
    }

    /// <summary>Those that are here now, in order.</summary>
    public void CopyTo(List<OperationSlot> slots)
    {
        lock (_gate)
            slots.AddRange(_slots);
    }

    public bool Remove(OperationSlot slot)
    {
        lock (_gate)
        {
            if (!_slots.Remove(slot))
                return false;
            Count_NeedsLock(slot.Peer, -1);
            return true;
        }
    }

    private void Count_NeedsLock(ulong peer, int step)
    {
        int count = _countByPeer.GetValueOrDefault(peer) + step;
        if (count == 0)
            _countByPeer.Remove(peer);
        else
            _countByPeer[peer] = count;
        Volatile.Write(ref _count, _slots.Count);
    }
}
