using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>The requests that wait for room, in the order they came.</summary>
/// <remarks>
/// Whoever makes room (a return, a deregistration) calls <see cref="Signal"/>; one work item at a time then serves the
/// waiters, the oldest first, on a thread of the pool, because serving may register memory. A waiter that can't be
/// served lets younger ones of other classes pass, but not more than <see cref="MaxOvertakes"/> times.
/// No wake-up is lost: a waiter enqueues and then signals once itself; a return makes its block visible and then reads
/// the count of waiters, with a full fence between; so either the return sees the waiter, or the waiter's own round
/// sees the block.
/// </remarks>
internal sealed class WaiterQueue(PoolEngine engine) : IThreadPoolWorkItem
{
    /// <summary>How often younger waiters may be served before the oldest one.</summary>
    public const int MaxOvertakes = 64;

    private const int Idle = 0;
    private const int Running = 1;
    private const int RunningSignalled = 2;

    private readonly Lock _gate = new();
    private readonly LinkedList<Waiter> _waiters = new();
    private readonly int[] _countByClass = new int[engine.ClassCount];
    private int _count;
    private int _state;

    public int Count => Volatile.Read(ref _count);

    /// <summary>Waiters are being served, or are about to be.</summary>
    public bool IsAtWork => Volatile.Read(ref _state) != Idle;

    /// <summary>The timestamp of the oldest waiter's coming; null where nobody waits.</summary>
    public long? OldestSince
    {
        get
        {
            lock (_gate)
                return _waiters.First?.Value.Since;
        }
    }

    /// <summary>How many wait for blocks of one class.</summary>
    public int CountOf(int classIndex) => Volatile.Read(ref _countByClass[classIndex]);

    /// <summary>Whether a newcomer may take an idle block that the oldest waiter has no use for now; it counts as an overtake.</summary>
    public bool TryOvertake()
    {
        lock (_gate)
            return _waiters.First is not { } oldest || oldest.Value.Overtaken++ < MaxOvertakes;
    }

    public LinkedListNode<Waiter> Enqueue(long length, long now)
    {
        var waiter = new Waiter(length, engine.ClassOf(length), now);
        LinkedListNode<Waiter> node;
        lock (_gate)
        {
            node = _waiters.AddLast(waiter);
            _countByClass[waiter.ClassIndex]++;
            Volatile.Write(ref _count, _waiters.Count);
        }
        engine.UpdateMode();
        return node;
    }

    /// <summary>Takes a waiter out. False: it was served or failed meanwhile.</summary>
    public bool TryRemove(LinkedListNode<Waiter> node)
    {
        bool isLast;
        lock (_gate)
        {
            if (!TryRemove_NeedsLock(node))
                return false;
            isLast = _waiters.Count == 0;
        }
        if (isLast)
            engine.UpdateMode();
        return true;
    }

    /// <summary>There may be room: serve the waiters.</summary>
    public void Signal()
    {
        int seen = Volatile.Read(ref _state);
        while (seen != RunningSignalled)
        {
            int before = Interlocked.CompareExchange(ref _state, seen + 1, seen);
            if (before == seen)
            {
                if (seen == Idle)
                    ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
                return;
            }
            seen = before;
        }
    }

    /// <summary>Fails every waiter.</summary>
    public void FailAll(Func<Exception> error)
    {
        while (true)
        {
            LinkedListNode<Waiter>? node;
            lock (_gate)
            {
                node = _waiters.First;
                if (node is null)
                    return;
                TryRemove_NeedsLock(node);
            }
            engine.UpdateMode();
            node.Value.SetException(error());
        }
    }

    void IThreadPoolWorkItem.Execute()
    {
        do
        {
            Volatile.Write(ref _state, Running);
            ServeRound();
        }
        while (Interlocked.CompareExchange(ref _state, Idle, Running) != Running);
    }

    private void ServeRound()
    {
        LinkedListNode<Waiter>[] round = Snapshot();
        // What comes free in the middle of a round is not for the younger ones of a class whose head was refused just
        // before: who made it free has signalled, so the next round begins with that head.
        bool[] refused = new bool[engine.ClassCount];
        for (int i = 0; i < round.Length; i++)
        {
            ref bool classIsRefused = ref refused[round[i].Value.ClassIndex];
            if (classIsRefused || !IsWaiting(round[i]))
                continue;
            if (TryServe(round[i]))
                MarkOvertaken(round.AsSpan(0, i));
            else if (IsWaiting(round[i]))
            {
                if (round[i].Value.Overtaken >= MaxOvertakes)
                    return;
                classIsRefused = true;
            }
        }
    }

    private bool TryServe(LinkedListNode<Waiter> node)
    {
        RmaBuffer buffer;
        Activity.Current = node.Value.Span;
        try
        {
            if (!engine.TryTakeForWaiter(node.Value.Length, out buffer))
                return false;
        }
        catch (Exception e)
        {
            // Whatever a provider throws belongs to the request; here it would end the process.
            if (TryRemove(node))
                node.Value.SetException(e);
            return false;
        }
        finally
        {
            Activity.Current = null;
        }
        if (TryRemove(node))
        {
            node.Value.SetResult(buffer);
            return true;
        }
        // It gave up meanwhile.
        buffer.GiveBack();
        return false;
    }

    private void MarkOvertaken(ReadOnlySpan<LinkedListNode<Waiter>> older)
    {
        lock (_gate)
        {
            foreach (LinkedListNode<Waiter> node in older)
                node.Value.Overtaken++;
        }
    }

    private bool IsWaiting(LinkedListNode<Waiter> node)
    {
        lock (_gate)
            return node.List is not null;
    }

    private LinkedListNode<Waiter>[] Snapshot()
    {
        lock (_gate)
        {
            var round = new List<LinkedListNode<Waiter>>(_waiters.Count);
            for (LinkedListNode<Waiter>? node = _waiters.First; node is not null; node = node.Next)
                round.Add(node);
            return [.. round];
        }
    }

    private bool TryRemove_NeedsLock(LinkedListNode<Waiter> node)
    {
        if (node.List is null)
            return false;
        _waiters.Remove(node);
        _countByClass[node.Value.ClassIndex]--;
        Volatile.Write(ref _count, _waiters.Count);
        return true;
    }
}
