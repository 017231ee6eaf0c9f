using System.Diagnostics;
using AllocTools.Diagnostics;
using AllocTools.Interop;

namespace AllocTools.Pooling;

/// <summary>The requests that wait for room, in the order they came.</summary>
/// <remarks>
/// Whoever makes room (a return, a deregistration) calls <see cref="Signal"/>, which hands idle blocks to the waiters at
/// once, the oldest first. What must be registered for them is, by a thread of the queue's own: neither a return nor the
/// thread pool, which blocked callers may hold, is waited for. The first waiter of a class that can't be served lets
/// younger ones of other classes pass, but not more than <see cref="MaxOvertakes"/> times; those that take nothing of what
/// it waits for pass without a bound, see <see cref="PoolMemory.IsIndifferent"/>.
/// No wake-up is lost: a waiter enqueues and then signals once itself; a return makes its block visible and then reads
/// the count of waiters, with a full fence between; so either the return sees the waiter, or the waiter's own round
/// sees the block.
/// A request for which the <see cref="Registrar"/> has memory registered stands here, too, but not in line: it holds back
/// nobody, and is not counted.
/// </remarks>
internal sealed class WaiterQueue
{
    /// <summary>How often younger requests may be served before the oldest one.</summary>
    public const int MaxOvertakes = 64;

    private readonly PoolEngine _engine;
    private readonly Lock _gate = new();

    // Held while idle blocks are handed out; before all other locks. What has to be given back is, after it.
    private readonly Lock _rounds = new();
    private readonly LinkedList<Waiter>[] _byClass;
    private readonly LinkedList<Waiter> _atRegistrar = new();
    private readonly OnDemandThread _server;
    private readonly WaiterClock _clock;
    private Waiter? _beingServed;
    private long _lastNumber;
    private int _count;

    public WaiterQueue(PoolEngine engine)
    {
        _engine = engine;
        _byClass = [.. Enumerable.Range(0, engine.ClassCount).Select(_ => new LinkedList<Waiter>())];
        _server = new OnDemandThread($"{engine.Name} waiters", engine.Incidents.Guarded("serving waiters", ServeByRegistering));
        _clock = new WaiterClock(engine, _gate, Expire);
    }

    public int Count => Volatile.Read(ref _count);

    /// <summary>The server is at work, or about to be.</summary>
    public bool IsAtWork => _server.IsBusy;

    /// <summary>The timestamp of the oldest waiter's coming; null where nobody waits.</summary>
    public long? OldestSince => Heads() is [{ } oldest, ..] ? oldest.Since : null;

    /// <summary>Whether requests of a class wait.</summary>
    public bool HasWaitersOf(int classIndex)
    {
        lock (_gate)
            return _byClass[classIndex].Count != 0;
    }

    /// <summary>The first waiter of each class that has any, the oldest first.</summary>
    public List<Waiter> Heads()
    {
        List<Waiter> heads = [];
        lock (_gate)
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

    /// <summary>Whether a younger request may take what older ones wait for.</summary>
    public bool MayOvertake(List<Waiter> older)
    {
        lock (_gate)
            return older.TrueForAll(w => w.Overtaken < MaxOvertakes);
    }

    /// <summary>A younger request was served before them.</summary>
    public void MarkOvertaken(List<Waiter> older)
    {
        lock (_gate)
            older.ForEach(w => w.Overtaken++);
    }

    /// <summary>From here on it may fail, time out or be cancelled; it is not in line yet.</summary>
    public void Add(Waiter waiter, CancellationToken cancellationToken)
    {
        lock (_gate)
            _atRegistrar.AddLast(waiter.Place);
        _clock.Add(waiter);
        CancellationTokenRegistration cancellation = cancellationToken.UnsafeRegister((cancelled, token) => Cancel((Waiter)cancelled!, token), waiter);
        lock (_gate)
        {
            if (waiter.Place.List is not null)
            {
                waiter.Cancellation = cancellation;
                return;
            }
        }
        cancellation.Unregister();
    }

    /// <summary>From here on it may be served, in its turn.</summary>
    public void Enqueue(Waiter waiter)
    {
        lock (_gate)
        {
            if (waiter.Place.List is null)
                return;
            _atRegistrar.Remove(waiter.Place);
            waiter.Number = ++_lastNumber;
            _byClass[waiter.ClassIndex].AddLast(waiter.Place);
            Volatile.Write(ref _count, _count + 1);
        }
        // The count must be visible before this thread reads what is idle or free, see PoolEngine.AfterRelease.
        Fence.Full();
        _engine.UpdateMode();
    }

    /// <summary>Ends the wait of one that is not in line. A buffer that comes too late goes back.</summary>
    public void Complete(Waiter waiter, RmaBuffer buffer, Exception? error)
    {
        if (!TryRemove(waiter))
            buffer.GiveBack();
        else if (error is null)
            Succeed(waiter, buffer);
        else
            Fail(waiter, error);
    }

    /// <summary>There may be room: hands out what is idle, and has registered for waiters what fits.</summary>
    public void Signal()
    {
        HandOut();
        if (Heads().Exists(w => _engine.Memory.HasRoomFor(w.Bytes, _engine.Requests.OwnerOf(w.Length))))
            _server.Signal();
    }

    /// <summary>Fails every waiter.</summary>
    public void FailAll(Func<Exception> error)
    {
        while ((Heads() is [{ } oldest, ..] ? oldest : FirstAtRegistrar()) is { } waiter)
        {
            if (TryRemove(waiter))
                Fail(waiter, error());
        }
    }

    /// <summary>Nobody will wait any more.</summary>
    public void Close()
    {
        _server.End();
        _clock.Close();
    }

    /// <summary>Gives idle blocks to waiters.</summary>
    private void HandOut()
    {
        if (Count == 0)
            return;
        List<(Waiter Waiter, RmaBuffer Buffer, Exception? Error)> ended = [];
        List<RmaBuffer> unused = [];
        // One round at a time, so that no two take a block for the same waiter.
        lock (_rounds)
        {
            // What comes free in the middle of a round is not for the younger ones of a class whose head was passed over
            // just before: who made it free has a round of its own, which begins with that head.
            List<Waiter> passed = [];
            while (FirstBeside(passed) is { } waiter)
            {
                if (TryTake(waiter, passed, mayRegister: false, unused, out RmaBuffer buffer, out Exception? error))
                    ended.Add((waiter, buffer, error));
                else if (IsWaiting(waiter))
                    passed.Add(waiter);
            }
        }
        Finish(ended, unused);
    }

    /// <summary>What follows a round, outside of its lock: listeners and the provider may be called.</summary>
    private void Finish(List<(Waiter Waiter, RmaBuffer Buffer, Exception? Error)> ended, List<RmaBuffer> unused)
    {
        if (ended.Count != 0 && Count == 0)
            _engine.UpdateMode();
        foreach ((Waiter waiter, RmaBuffer buffer, Exception? error) in ended)
        {
            if (error is null)
                Succeed(waiter, buffer);
            else
                Fail(waiter, error);
        }
        foreach (RmaBuffer buffer in unused)
            buffer.GiveBack();
    }

    /// <summary>The server's: has memory registered for waiters, outside of rounds. While one is at it the others are served on.</summary>
    private TimeSpan ServeByRegistering()
    {
        List<Waiter> passed = [];
        List<RmaBuffer> unused = [];
        while (true)
        {
            // Also what came free for the one that was just being served, and was kept from it meanwhile.
            HandOut();
            Waiter? waiter;
            lock (_rounds)
                Volatile.Write(ref _beingServed, waiter = FirstBeside(passed));
            if (waiter is null)
                return Timeout.InfiniteTimeSpan;
            bool hasEnded;
            RmaBuffer buffer;
            Exception? error;
            try
            {
                hasEnded = TryTake(waiter, passed, mayRegister: true, unused, out buffer, out error);
            }
            finally
            {
                Volatile.Write(ref _beingServed, null);
            }
            Finish(hasEnded ? [(waiter, buffer, error)] : [], unused);
            unused.Clear();
            if (!hasEnded && IsWaiting(waiter))
                passed.Add(waiter);
        }
    }

    /// <summary>The oldest waiter that is not being served, of a class of which none was passed over.</summary>
    private Waiter? FirstBeside(List<Waiter> passed)
    {
        Waiter? oldest = null;
        lock (_gate)
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

    /// <summary>Takes memory for a waiter, and takes it out of the queue; see <see cref="Finish"/>.</summary>
    /// <param name="waiter">The waiter.</param>
    /// <param name="passed">Older ones that could not be served.</param>
    /// <param name="mayRegister">Memory may be registered for it.</param>
    /// <param name="unused">Gets what was taken in vain.</param>
    /// <param name="buffer">What it gets.</param>
    /// <param name="error">Why it fails.</param>
    /// <returns>True where it is out, with a buffer or an error.</returns>
    private bool TryTake(Waiter waiter, List<Waiter> passed, bool mayRegister, List<RmaBuffer> unused, out RmaBuffer buffer, out Exception? error)
    {
        bool mayOvertake = MayOvertake(passed);
        buffer = default;
        error = null;
        try
        {
            // Listeners of Activity.CurrentChanged run here.
            if (mayRegister)
                Activity.Current = waiter.Span;
            bool isTaken = mayOvertake
                ? _engine.Requests.TryTakeForWaiter(waiter.Length, mayRegister, out buffer)
                : _engine.Requests.TryTakeUnneeded(waiter.Length, passed, mayRegister, out buffer);
            if (!isTaken)
                return false;
        }
        catch (Exception e)
        {
            // Whatever a provider throws belongs to the request; here it would end the process.
            error = e;
            return TryTakeOut(waiter);
        }
        finally
        {
            if (mayRegister)
                _engine.Incidents.Guard("leaving a waiter's span", static () => Activity.Current = null);
        }
        if (!_engine.IsOpen)
        {
            // Closed while memory was registered.
            unused.Add(buffer);
            error = _engine.Refusals.NotOpen();
            return TryTakeOut(waiter);
        }
        if (!TryTakeOut(waiter))
        {
            // It gave up meanwhile.
            unused.Add(buffer);
            return false;
        }
        if (mayOvertake)
            MarkOvertaken(passed);
        return true;
    }

    private void Succeed(Waiter waiter, RmaBuffer buffer)
    {
        waiter.StopWatching();
        waiter.InContext(() =>
        {
            buffer = _engine.Leaks.Sample(buffer);
            Record(waiter, null);
        });
        waiter.SetResult(buffer);
    }

    private void Fail(Waiter waiter, Exception error)
    {
        waiter.StopWatching();
        waiter.InContext(() => Record(waiter, RmaTags.ErrorTypeOf(error)));
        waiter.SetException(error);
    }

    private void Cancel(Waiter waiter, CancellationToken cancellationToken)
    {
        if (!TryRemove(waiter))
            return;
        waiter.StopWatching();
        waiter.InContext(() => Record(waiter, "cancelled"));
        waiter.SetCanceled(cancellationToken);
        // An older waiter that is gone no longer holds back the younger ones.
        Signal();
    }

    private void Expire(Waiter waiter)
    {
        if (TryRemove(waiter))
            FailLate(waiter);
    }

    private void FailLate(Waiter waiter)
    {
        waiter.StopWatching();
        RmaPoolExhaustedException error = _engine.Refusals.TimedOut(waiter.Length, waiter.Timeout);
        waiter.InContext(() => Record(waiter, "timeout"));
        waiter.SetException(error);
        // A younger one that it held back may fit now.
        Signal();
    }

    private void Record(Waiter waiter, string? errorType)
    {
        if (waiter.Number != 0)
            _engine.Instruments?.RecordWait(_engine.Time.GetElapsedTime(waiter.Since), errorType);
    }

    /// <summary>It has not ended, and no thread is about to end it.</summary>
    public bool IsWaiting(Waiter waiter)
    {
        lock (_gate)
            return waiter.Place.List is not null;
    }

    private Waiter? FirstAtRegistrar()
    {
        lock (_gate)
            return _atRegistrar.First?.Value;
    }

    /// <summary>Takes a waiter out. False: it was served or failed meanwhile.</summary>
    private bool TryRemove(Waiter waiter)
    {
        if (!TryTakeOut(waiter))
            return false;
        if (Count == 0)
            _engine.UpdateMode();
        return true;
    }

    /// <summary>As <see cref="TryRemove"/>, and the pool's mode must be updated after.</summary>
    private bool TryTakeOut(Waiter waiter)
    {
        lock (_gate)
        {
            if (waiter.Place.List is not { } waiters)
                return false;
            waiters.Remove(waiter.Place);
            WaiterClock.Remove_NeedsLock(waiter);
            if (waiters != _atRegistrar)
                Volatile.Write(ref _count, _count - 1);
            return true;
        }
    }
}
