using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Pooling;

/// <summary>The waiters and their order: a line for each size class and one for the direct regions, and beside them the requests that the <see cref="Registrar"/> serves.</summary>
/// <remarks>
/// The first waiter of a class that can't be served lets younger ones of other classes pass, but not more than
/// <see cref="MaxOvertakes"/> times. A request beside the lines holds back no other, and is not counted.
/// </remarks>
internal sealed class WaiterLine(int lines)
{
    /// <summary>How often younger requests may be served before the oldest one.</summary>
    public const int MaxOvertakes = 64;

    private readonly LinkedList<Waiter>[] _byClass = [.. Enumerable.Range(0, lines).Select(_ => new LinkedList<Waiter>())];
    private readonly LinkedList<Waiter> _beside = new();
    private Waiter? _beingServed;
    private long _lastNumber;
    private int _count;

    /// <summary>Held while a line, or a waiter's deadline, is changed.</summary>
    public Lock Gate { get; } = new();

    /// <summary>How many requests wait in line.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>The timestamp at which the oldest waiter came; null if none waits.</summary>
    public long? OldestSince => Heads() is [{ } oldest, ..] ? oldest.Since : null;

    /// <summary>
    /// Sets the waiter that is being served outside of rounds; null for none. Meanwhile it does not count as the first
    /// in its line. It is set between rounds, and reset at any time: a round that still reads it withholds from the
    /// waiter what became free, and the next round hands that out.
    /// </summary>
    public void SetBeingServed(Waiter? waiter) => Volatile.Write(ref _beingServed, waiter);

    /// <summary>Whether requests of a class wait.</summary>
    public bool HasWaitersOf(int classIndex)
    {
        lock (Gate)
            return _byClass[classIndex].Count != 0;
    }

    /// <summary>Returns the first waiter of each class that has any, the oldest first.</summary>
    public List<Waiter> Heads()
    {
        List<Waiter> heads = [];
        lock (Gate)
        {
            foreach (LinkedList<Waiter> waiters in _byClass)
            {
                if (waiters.First is { } first)
                    heads.Add(first.Value);
            }
        }
        heads.Sort(static (a, b) => a.Number.CompareTo(b.Number));
        return heads;
    }

    /// <summary>Gets the oldest of all waiters, including those beside the lines.</summary>
    public bool TryGetAny([NotNullWhen(true)] out Waiter? waiter)
    {
        waiter = Heads() is [{ } oldest, ..] ? oldest : null;
        lock (Gate)
            waiter ??= _beside.First?.Value;
        return waiter is not null;
    }

    /// <summary>Returns the oldest waiter that is not being served, of a class of which none was passed over.</summary>
    public Waiter? FirstNotPassed(List<Waiter> passed)
    {
        Waiter? oldest = null;
        lock (Gate)
        {
            foreach (LinkedList<Waiter> waiters in _byClass)
            {
                LinkedListNode<Waiter>? first = waiters.First;
                if (first is not null && first.Value == _beingServed)
                    first = first.Next;
                if (first is { Value: var waiter } && (oldest is null || waiter.Number < oldest.Number) && !passed.Exists(p => p.ClassIndex == waiter.ClassIndex))
                    oldest = waiter;
            }
        }
        return oldest;
    }

    /// <summary>Whether a younger request may take what older ones wait for.</summary>
    public bool MayOvertake(List<Waiter> older)
    {
        lock (Gate)
            return older.TrueForAll(w => w.Overtaken < MaxOvertakes);
    }

    /// <summary>Counts that a younger request was served before them.</summary>
    public void MarkOvertaken(List<Waiter> older)
    {
        lock (Gate)
            older.ForEach(w => w.Overtaken++);
    }

    /// <summary>Places a waiter beside the lines.</summary>
    public void AddBeside(Waiter waiter)
    {
        lock (Gate)
            _beside.AddLast(waiter.Place);
    }

    /// <summary>Ties the registration that may cancel a waiter to its wait. Returns false if the wait has ended already.</summary>
    public bool TrySetCancellation(Waiter waiter, CancellationTokenRegistration cancellation)
    {
        lock (Gate)
        {
            if (waiter.Place.List is null)
                return false;
            waiter.Cancellation = cancellation;
            return true;
        }
    }

    /// <summary>Moves a waiter from beside the lines to the end of its own line. Returns false if its wait has ended.</summary>
    public bool TryLineUp(Waiter waiter)
    {
        lock (Gate)
        {
            if (waiter.Place.List is null)
                return false;
            _beside.Remove(waiter.Place);
            waiter.Number = ++_lastNumber;
            _byClass[waiter.ClassIndex].AddLast(waiter.Place);
            Volatile.Write(ref _count, _count + 1);
            return true;
        }
    }

    /// <summary>Whether the wait has not ended, and no thread is about to end it.</summary>
    public bool IsWaiting(Waiter waiter)
    {
        lock (Gate)
            return waiter.Place.List is not null;
    }

    /// <summary>
    /// Takes a waiter out; the pool's mode must be updated afterwards. Returns false if it was served or failed
    /// meanwhile.
    /// </summary>
    public bool TryTakeOut(Waiter waiter)
    {
        lock (Gate)
        {
            if (waiter.Place.List is not { } waiters)
                return false;
            waiters.Remove(waiter.Place);
            WaiterClock.Remove_NeedsLock(waiter);
            if (waiters != _beside)
                Volatile.Write(ref _count, _count - 1);
            return true;
        }
    }
}
