using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.HostMemory;

/// <summary>
/// Copies of an endpoint that take longer than a call may: one after the other, on a thread of the thread pool. What must not
/// overtake one of them waits behind it, however short it is.
/// </summary>
/// <param name="run">Does a copy, and reports its end.</param>
internal sealed class HostCopies(Action<HostCopy> run) : IThreadPoolWorkItem
{
    /// <summary>
    /// The longest that a call copies itself, in bytes. Measured: to copy 1 MiB takes 58 µs, to hand it over to another
    /// thread 55 µs more.
    /// </summary>
    public const long LongestInCall = 1 << 20;

    // Waited on, so no Lock.
    private readonly object _gate = new();
    private readonly LinkedList<HostCopy> _waiting = new();
    private HostCopy? _running;
    private bool _isCancelled;

    // Written under the lock.
    private volatile bool _isServed;

    /// <summary>Takes a copy over.</summary>
    /// <param name="sender">Whose write, read or message it is.</param>
    /// <param name="operation">The operation.</param>
    /// <param name="receive">The receive that takes the message; null where that isn't known yet, and for a write or read.</param>
    /// <param name="order">Copies with the same one don't overtake each other.</param>
    /// <param name="length">Bytes.</param>
    /// <returns>False: it is short, and there is nothing before it. The caller does it.</returns>
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

    /// <summary>Takes an operation back that nothing was done for yet. A copy that has begun is not interrupted.</summary>
    /// <returns>False: it isn't here, or not any more.</returns>
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

    /// <summary>An operation was cancelled after it had left the queue.</summary>
    public bool IsCancelled(RmaDriverOperation operation)
    {
        if (!_isServed)
            return false;
        lock (_gate)
            return _isCancelled && _running?.IsOf(operation) == true;
    }

    /// <summary>Waits until nothing is copied from a sender's buffers any more.</summary>
    public void WaitFor(HostDriver sender)
    {
        lock (_gate)
        {
            while (_running?.Sender == sender || _waiting.Any(w => w.Sender == sender))
                Monitor.Wait(_gate);
        }
    }

    /// <summary>Drops what has not begun, and waits for what has. Nothing is added any more.</summary>
    /// <returns>What was dropped.</returns>
    public HostCopy[] Close()
    {
        lock (_gate)
        {
            HostCopy[] dropped = [.. _waiting];
            _waiting.Clear();
            // Who waits for a dropped one need not any more.
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

/// <summary>A copy that is done later.</summary>
/// <param name="Sender">Whose write, read or message it is.</param>
/// <param name="Operation">The operation.</param>
/// <param name="Use">Which use of the operation's object: it may be used again before the copy's end is noted here.</param>
/// <param name="Receive">The receive that takes the message; null where that isn't known yet, and for a write or read.</param>
/// <param name="Order">Copies with the same one don't overtake each other.</param>
internal sealed record HostCopy(HostDriver Sender, RmaDriverOperation Operation, long Use, RmaDriverOperation? Receive, object Order)
{
    /// <summary>It does the operation itself. A message that has met its receive is none that can be taken back.</summary>
    public bool IsOf(RmaDriverOperation operation) => Receive is null && Operation == operation && Use == operation.Use;
}
