using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Batches;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>Holds the free slots of an endpoint, and the operations that wait for one, in their order of arrival.</summary>
/// <remarks>
/// Free slots form a lock-free stack (Treiber's), whose head counts its changes, so that a slot that was taken and
/// returned does not look unchanged. While operations wait, no other operation takes a slot. A slot that becomes free is
/// given to the oldest waiter under the lock. The callback queues the operation, or reports that it can no longer be
/// served, so operations are posted in the order of the calls. No slot is forgotten: a waiter first announces itself and
/// then checks the stack, and a thread that returns a slot does the reverse, each with a fence in between.
/// </remarks>
internal sealed class SlotPool
{
    private const int None = -1;

    private readonly Lock _gate = new();
    private readonly OperationSlot[] _slots;
    private readonly int[] _next;
    private readonly LinkedList<WaitingOperation> _waiting = new();
    private readonly Func<WaitingOperation, OperationSlot, bool> _give;

    // The low half is the index of the first free slot or None, the high half the number of changes.
    private ulong _head;
    private int _waitingCount;
    private bool _closed;

    /// <param name="slots">All slots, each with its index.</param>
    /// <param name="give">Gives a slot to a waiting operation; returns false if the operation can no longer use it.</param>
    public SlotPool(OperationSlot[] slots, Func<WaitingOperation, OperationSlot, bool> give)
    {
        _slots = slots;
        _next = [.. Enumerable.Range(1, slots.Length)];
        _next[^1] = None;
        _give = give;
    }

    /// <summary>The number of operations that wait for a slot.</summary>
    public int WaitingCount => Volatile.Read(ref _waitingCount);

    /// <summary>How often a slot was taken or returned; the number wraps around at 2^32.</summary>
    public uint Changes => (uint)(Volatile.Read(ref _head) >> 32);

    public bool TryTake([NotNullWhen(true)] out OperationSlot? slot)
    {
        slot = null;
        return Volatile.Read(ref _waitingCount) == 0 && TryPop(out slot);
    }

    /// <summary>Lets an operation wait for a slot; if one has become free meanwhile, the operation gets it immediately.</summary>
    /// <returns>The operation's place in the queue; null if the endpoint is closed, so that operations may no longer wait.</returns>
    public LinkedListNode<WaitingOperation>? TryWait(WaitingOperation operation)
    {
        lock (_gate)
        {
            if (_closed)
                return null;
            LinkedListNode<WaitingOperation> node = _waiting.AddLast(operation);
            Interlocked.Increment(ref _waitingCount);
            Fence.AfterInterlocked();
            Give_NeedsLock();
            return node;
        }
    }

    /// <summary>Removes a waiter that gives up. Returns false if it already has its slot, or has failed.</summary>
    public bool TryRemove(LinkedListNode<WaitingOperation> node)
    {
        lock (_gate)
        {
            if (node.List is null)
                return false;
            _waiting.Remove(node);
            Interlocked.Decrement(ref _waitingCount);
            return true;
        }
    }

    public void Return(OperationSlot slot)
    {
        Push(slot);
        Fence.AfterInterlocked();
        if (Volatile.Read(ref _waitingCount) == 0)
            return;
        lock (_gate)
            Give_NeedsLock();
    }

    /// <summary>Ends all waits.</summary>
    /// <returns>The operations that waited.</returns>
    public WaitingOperation[] Close()
    {
        lock (_gate)
        {
            _closed = true;
            return TakeWaiting();
        }
    }

    /// <summary>Removes all waiters.</summary>
    public WaitingOperation[] TakeWaiting()
    {
        lock (_gate)
        {
            WaitingOperation[] taken = [.. _waiting];
            _waiting.Clear();
            Volatile.Write(ref _waitingCount, 0);
            return taken;
        }
    }

    private void Give_NeedsLock()
    {
        while (_waiting.First is { } first && TryPop(out OperationSlot? slot))
        {
            _waiting.Remove(first);
            if (!_give(first.Value, slot))
                Push(slot);
            // Decremented only now: while the operation is counted, no other one takes a slot, and from here on a later
            // operation finds it queued.
            Interlocked.Decrement(ref _waitingCount);
        }
    }

    private bool TryPop([NotNullWhen(true)] out OperationSlot? slot)
    {
        ulong head = Volatile.Read(ref _head);
        while ((int)head != None)
        {
            int first = (int)head;
            // If another thread has taken the slot and changed this link meanwhile, the head has changed, too.
            ulong before = Interlocked.CompareExchange(ref _head, After(head, Volatile.Read(ref _next[first])), head);
            if (before == head)
            {
                slot = _slots[first];
                return true;
            }
            head = before;
        }
        slot = null;
        return false;
    }

    private void Push(OperationSlot slot)
    {
        ulong head = Volatile.Read(ref _head);
        while (true)
        {
            _next[slot.Index] = (int)head;
            ulong before = Interlocked.CompareExchange(ref _head, After(head, slot.Index), head);
            if (before == head)
                return;
            head = before;
        }
    }

    private static ulong After(ulong head, int first) => (((head >> 32) + 1) << 32) | (uint)first;
}

/// <summary>An operation that waits for a slot. It already holds its buffer, and its time is running.</summary>
internal sealed class WaitingOperation(in RmaOperation operation, RmaHold hold, long started, long deadline, CancellationToken cancellationToken)
    : TaskCompletionSource<RmaReceiveResult>(TaskCreationOptions.RunContinuationsAsynchronously)
{
    public RmaOperation Operation { get; } = operation;

    /// <summary>The run of its batch; null if it is not in a batch.</summary>
    public BatchRun? Batch { get; init; }

    /// <inheritdoc cref="OperationSlot.Ticket"/>
    public long Ticket { get; init; }

    public RmaHold Hold { get; } = hold;

    public long Started => started;

    public long Deadline => deadline;

    public CancellationToken CancellationToken => cancellationToken;
}
