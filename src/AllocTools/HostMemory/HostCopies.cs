using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.HostMemory;

/// <summary>
/// Runs an endpoint's copies that take longer than a call may, one after the other, on a thread of the thread pool. An
/// operation that must not overtake one of them waits behind it, however short it is.
/// </summary>
/// <param name="run">Executes a copy, and reports its end.</param>
internal sealed class HostCopies(Action<HostCopy> run) : IThreadPoolWorkItem
{
    /// <summary>
    /// The longest copy that a call makes itself, in bytes. According to measurements, copying 1 MiB takes 58 µs, and
    /// handing it over to another thread takes 55 µs more.
    /// </summary>
    public const long LongestInCall = 1 << 20;

    // Monitor.Wait is called on this, so it is not a Lock.
    private readonly object _gate = new();
    private readonly LinkedList<HostCopy> _waiting = new();
    private HostCopy? _running;
    private bool _isCancelled;

    // This is written under the lock.
    private volatile bool _isServed;

    /// <summary>Queues a copy.</summary>
    /// <param name="sender">The driver that started the write, read or send.</param>
    /// <param name="operation">The operation.</param>
    /// <param name="receive">The receive that takes the message; null if that isn't known yet, and for a write or read.</param>
    /// <param name="order">Copies with the same value don't overtake each other.</param>
    /// <param name="length">The length of the copy in bytes.</param>
    /// <returns>False if the copy is short and nothing is queued before it, so that the caller executes it.</returns>
    public bool TryAdd(HostDriver sender, RmaDriverOperation operation, RmaDriverOperation? receive, object order, long length)
    {
        bool isLong = length > LongestInCall;
        if (!isLong && !_isServed)
            return false;
        lock (_gate)
        {
            if (!isLong && !IsBusy_NeedsLock(order))
                return false;
            _waiting.AddLast(new HostCopy(sender, operation, operation.Use, receive, order));
            if (_isServed)
                return true;
            _isServed = true;
        }
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        return true;
    }

    /// <summary>Removes an operation whose copy has not begun. A copy that has begun is not interrupted.</summary>
    /// <returns>False if the operation is not in the queue, or no longer.</returns>
    public bool TryCancel(RmaDriverOperation operation)
    {
        lock (_gate)
        {
            if (_running?.IsOf(operation) == true)
                _isCancelled = true;
            for (LinkedListNode<HostCopy>? node = _waiting.First; node is not null; node = node.Next)
            {
                if (!node.Value.IsOf(operation))
                    continue;
                _waiting.Remove(node);
                return true;
            }
            return false;
        }
    }

    /// <summary>Whether an operation was cancelled after it had left the queue.</summary>
    public bool IsCancelled(RmaDriverOperation operation)
    {
        if (!_isServed)
            return false;
        lock (_gate)
            return _isCancelled && _running?.IsOf(operation) == true;
    }

    /// <summary>Waits until no copy from a sender's buffers is running.</summary>
    public void WaitFor(HostDriver sender)
    {
        lock (_gate)
        {
            while (_running?.Sender == sender || _waiting.Any(w => w.Sender == sender))
                Monitor.Wait(_gate);
        }
    }

    /// <summary>Drops copies that have not begun, and waits for those that have. No more copies are accepted.</summary>
    /// <returns>The copies that were dropped.</returns>
    public HostCopy[] Close()
    {
        lock (_gate)
        {
            HostCopy[] dropped = [.. _waiting];
            _waiting.Clear();
            // Threads that wait for a dropped copy can continue.
            Monitor.PulseAll(_gate);
            while (_running is not null)
                Monitor.Wait(_gate);
            return dropped;
        }
    }

    private bool IsBusy_NeedsLock(object order)
    {
        if (_running?.Order == order)
            return true;
        foreach (HostCopy waiting in _waiting)
        {
            if (waiting.Order == order)
                return true;
        }
        return false;
    }

    void IThreadPoolWorkItem.Execute()
    {
        while (TryTake(out HostCopy? copy))
            run(copy);
    }

    private bool TryTake([NotNullWhen(true)] out HostCopy? copy)
    {
        lock (_gate)
        {
            _running = copy = _waiting.First?.Value;
            _isCancelled = false;
            if (copy is not null)
                _waiting.RemoveFirst();
            else
                _isServed = false;
            Monitor.PulseAll(_gate);
            return copy is not null;
        }
    }
}

/// <summary>A copy that is executed later.</summary>
/// <param name="Sender">The driver that started the write, read or send.</param>
/// <param name="Operation">The operation.</param>
/// <param name="Use">The use of the operation's object, because the object may be reused before the end of the copy is noted here.</param>
/// <param name="Receive">The receive that takes the message; null if that isn't known yet, and for a write or read.</param>
/// <param name="Order">Copies with the same value don't overtake each other.</param>
internal sealed record HostCopy(HostDriver Sender, RmaDriverOperation Operation, long Use, RmaDriverOperation? Receive, object Order)
{
    /// <summary>Whether the copy executes the operation itself. A message that has matched a receive can no longer be cancelled.</summary>
    public bool IsOf(RmaDriverOperation operation) => Receive is null && Operation == operation && Use == operation.Use;
}
