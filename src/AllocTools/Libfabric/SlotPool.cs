using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Libfabric;

/// <summary>The free slots of an endpoint, and the operations that wait for one, in the order they came.</summary>
/// <remarks>
/// A slot that comes free while operations wait is given to the oldest, under the lock, by way of the callback, which
/// queues it or says that it can't be served any more: so they are posted in the order of the calls. Invariant: where operations wait, no slot is free.
/// </remarks>
internal sealed class SlotPool
{
    private readonly Lock _gate = new();
    private readonly OperationSlot[] _free;
    private readonly LinkedList<WaitingOperation> _waiting = new();
    private readonly Func<WaitingOperation, OperationSlot, bool> _give;
    private int _count;
    private bool _closed;

    public SlotPool(OperationSlot[] slots, Func<WaitingOperation, OperationSlot, bool> give)
    {
        _free = [.. slots.Reverse()];
        _count = _free.Length;
        _give = give;
    }

    public bool TryTake([NotNullWhen(true)] out OperationSlot? slot)
    {
        lock (_gate)
        {
            slot = _count > 0 ? _free[--_count] : null;
            return slot is not null;
        }
    }

    /// <summary>Lets an operation wait for a slot; where one has come free meanwhile it has it at once.</summary>
    public LinkedListNode<WaitingOperation> Wait(WaitingOperation operation)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, typeof(LibfabricEndpoint));
            LinkedListNode<WaitingOperation> node = new(operation);
            if (_count == 0)
                _waiting.AddLast(node);
            // Taken first: the slot may come back before this returns.
            else if (!_give(operation, _free[--_count]))
                _count++;
            return node;
        }
    }

    /// <summary>Takes one out that gives up. False: it has its slot, or was failed.</summary>
    public bool TryRemove(LinkedListNode<WaitingOperation> node)
    {
        lock (_gate)
        {
            if (node.List is null)
                return false;
            _waiting.Remove(node);
            return true;
        }
    }

    public void Return(OperationSlot slot)
    {
        lock (_gate)
        {
            while (_waiting.First is { } first)
            {
                _waiting.RemoveFirst();
                if (_give(first.Value, slot))
                    return;
            }
            _free[_count++] = slot;
        }
    }

    /// <summary>Lets nothing wait any more.</summary>
    /// <returns>Those that waited.</returns>
    public WaitingOperation[] Close()
    {
        lock (_gate)
        {
            _closed = true;
            return TakeWaiting();
        }
    }

    /// <summary>Takes out all that wait.</summary>
    public WaitingOperation[] TakeWaiting()
    {
        lock (_gate)
        {
            WaitingOperation[] taken = [.. _waiting];
            _waiting.Clear();
            return taken;
        }
    }
}
