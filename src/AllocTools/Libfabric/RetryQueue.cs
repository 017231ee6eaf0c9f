using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Libfabric;

/// <summary>Operations that the transport would not take (-FI_EAGAIN), in order. Never longer than there are slots.</summary>
/// <remarks>
/// While one is here, later operations queue behind it, so that the order of the calls is kept. Its place is given up
/// only after it was posted. Only whoever holds the progress turn takes from it.
/// </remarks>
internal sealed class RetryQueue
{
    private readonly Lock _gate = new();
    private readonly LinkedList<OperationSlot> _slots = new();
    private int _count;

    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    public void Add(OperationSlot slot)
    {
        lock (_gate)
        {
            _slots.AddLast(slot);
            Volatile.Write(ref _count, _slots.Count);
        }
    }

    public void AddFirst(OperationSlot slot)
    {
        lock (_gate)
        {
            _slots.AddFirst(slot);
            Volatile.Write(ref _count, _slots.Count);
        }
    }

    public bool TryPeek([NotNullWhen(true)] out OperationSlot? slot)
    {
        lock (_gate)
        {
            slot = _slots.First?.Value;
            return slot is not null;
        }
    }

    public bool Remove(OperationSlot slot)
    {
        lock (_gate)
        {
            bool removed = _slots.Remove(slot);
            Volatile.Write(ref _count, _slots.Count);
            return removed;
        }
    }
}
