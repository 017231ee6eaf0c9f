using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Libfabric;

/// <summary>The free slots of an endpoint, and who waits for one, in the order they came.</summary>
internal sealed class SlotPool
{
    private readonly Lock _gate = new();
    private readonly OperationSlot[] _free;
    private readonly LinkedList<TaskCompletionSource<OperationSlot>> _waiters = new();
    private int _count;
    private bool _closed;

    public SlotPool(OperationSlot[] slots)
    {
        _free = [.. slots.Reverse()];
        _count = _free.Length;
    }

    public bool TryTake([NotNullWhen(true)] out OperationSlot? slot)
    {
        lock (_gate)
        {
            // Who waits goes first; a slot that comes free is theirs, so there is none here then.
            slot = _count > 0 ? _free[--_count] : null;
            return slot is not null;
        }
    }

    /// <summary>Waits for a slot.</summary>
    /// <exception cref="TimeoutException">None came free in time.</exception>
    public async Task<OperationSlot> TakeAsync(TimeSpan timeout, TimeProvider time, CancellationToken cancellationToken)
    {
        LinkedListNode<TaskCompletionSource<OperationSlot>> node;
        lock (_gate)
        {
            if (_count > 0)
                return _free[--_count];
            ObjectDisposedException.ThrowIf(_closed, typeof(LibfabricEndpoint));
            node = _waiters.AddLast(new TaskCompletionSource<OperationSlot>(TaskCreationOptions.RunContinuationsAsynchronously));
        }
        Task<OperationSlot> task = node.Value.Task;
        try
        {
            return await task.WaitAsync(timeout, time, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException && !task.IsFaulted)
        {
            bool waiting;
            lock (_gate)
            {
                waiting = node.List is not null;
                if (waiting)
                    _waiters.Remove(node);
            }
            if (!waiting)
                Return(await task.ConfigureAwait(false));
            throw;
        }
    }

    public void Return(OperationSlot slot)
    {
        TaskCompletionSource<OperationSlot>? waiter = null;
        lock (_gate)
        {
            if (_waiters.First is { } first)
            {
                waiter = first.Value;
                _waiters.RemoveFirst();
            }
            else
            {
                _free[_count++] = slot;
            }
        }
        waiter?.SetResult(slot);
    }

    /// <summary>Fails who waits.</summary>
    public void Close()
    {
        List<TaskCompletionSource<OperationSlot>> waiters;
        lock (_gate)
        {
            _closed = true;
            waiters = [.. _waiters];
            _waiters.Clear();
        }
        foreach (TaskCompletionSource<OperationSlot> waiter in waiters)
            waiter.SetException(new ObjectDisposedException(nameof(LibfabricEndpoint)));
    }
}
