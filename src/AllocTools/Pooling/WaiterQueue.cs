using System.Diagnostics;
using AllocTools.Diagnostics;
using AllocTools.Interop;

namespace AllocTools.Pooling;

/// <summary>Serves the requests that wait for room, in the order of their <see cref="WaiterLine"/>.</summary>
/// <remarks>
/// A thread that makes room (by a return, or a deregistration) calls <see cref="Signal"/>, which hands idle blocks to
/// the waiters at once, the oldest first. Memory that must be registered for them is registered by a thread of the
/// queue's own. So it delays no return, and does not depend on the thread pool, which blocked callers may hold. Waiters
/// that take nothing that an older one waits for pass it without a limit, see <see cref="PoolMemory.IsIndifferent"/>.
/// No wake-up is lost. A waiter lines up and then signals once itself. A return makes its block visible and then reads
/// the count of waiters, with a full fence in between. So either the return sees the waiter, or the waiter's own round
/// sees the block.
/// </remarks>
internal sealed class WaiterQueue
{
    private readonly PoolSettings _settings;
    private readonly PoolCounters _counters;
    private readonly PoolIncidents _incidents;
    private readonly PoolLifetime _lifetime;
    private readonly PoolMemory _memory;
    private readonly LeakDetector _leaks;
    private readonly Refusals _refusals;
    private readonly WaiterLine _line;
    private readonly BlockFinder _finder;
    private readonly IPoolSignals _signals;

    // Held while idle blocks are handed out, and taken before all other locks. Blocks that have to be given back are
    // given back after it is released.
    private readonly Lock _rounds = new();
    private readonly OnDemandThread _server;
    private readonly WaiterClock _clock;

    // The server while it takes memory for a waiter, and whether it made room meanwhile. Only the server writes them.
    private Thread? _taker;
    private bool _hasTakerMadeRoom;

    public WaiterQueue(
        PoolSettings settings,
        PoolCounters counters,
        PoolIncidents incidents,
        PoolLifetime lifetime,
        PoolMemory memory,
        LeakDetector leaks,
        Refusals refusals,
        WaiterLine line,
        BlockFinder finder,
        IPoolSignals signals)
    {
        _settings = settings;
        _counters = counters;
        _incidents = incidents;
        _lifetime = lifetime;
        _memory = memory;
        _leaks = leaks;
        _refusals = refusals;
        _line = line;
        _finder = finder;
        _signals = signals;
        _server = new OnDemandThread($"{settings.Name} waiters", incidents.Guarded("serving waiters", ServeByRegistering));
        _clock = new WaiterClock(settings, incidents, line.Gate, Expire);
    }

    /// <summary>Whether the server is at work, or about to be.</summary>
    public bool IsAtWork => _server.IsBusy;

    /// <summary>Adds a waiter. From here on it may fail, time out or be cancelled; it is not in line yet.</summary>
    public void Add(Waiter waiter, CancellationToken cancellationToken)
    {
        _line.AddBeside(waiter);
        _clock.Add(waiter);
        CancellationTokenRegistration cancellation = cancellationToken.UnsafeRegister((cancelled, token) => Cancel((Waiter)cancelled!, token), waiter);
        if (!_line.TrySetCancellation(waiter, cancellation))
            cancellation.Unregister();
    }

    /// <summary>Lets a request wait in line for room. From here on it may be served when its turn comes.</summary>
    public void Wait(Waiter waiter)
    {
        if (_line.TryLineUp(waiter))
        {
            // The count must be visible before this thread reads what is idle or free, see PoolEngine.AfterRelease.
            Fence.Full();
            _signals.UpdateMode();
        }
        // Look once more, because a return may have read a count of 0 just before. The same holds for the state, because draining fails waiters once.
        FailIfNotOpen();
        Signal();
    }

    /// <summary>
    /// Fails the waiters if the pool is not open. Draining and closing fail them only once, so a thread that adds one
    /// afterwards calls this.
    /// </summary>
    public void FailIfNotOpen()
    {
        if (!_lifetime.IsOpen)
            FailAll(_lifetime.NotOpen);
    }

    /// <summary>Ends the wait of a request that is not in line. A buffer that comes too late is given back.</summary>
    public void Complete(Waiter waiter, RmaBuffer buffer, Exception? error)
    {
        if (!TryRemove(waiter))
            buffer.GiveBack();
        else if (error is null)
            Succeed(waiter, buffer);
        else
            Fail(waiter, error);
    }

    /// <summary>
    /// Serves waiters because there may be room: hands out idle blocks, and lets the server register memory that fits.
    /// </summary>
    public void Signal()
    {
        // What the server deregisters makes room for the waiter that it serves. A younger one must not take the rest of it.
        if (Volatile.Read(ref _taker) == Thread.CurrentThread)
        {
            _hasTakerMadeRoom = true;
            return;
        }
        HandOut();
        if (_line.Heads().Exists(w => _memory.HasRoomFor(w.Bytes, _finder.OwnerOf(w.Length))))
            _server.Signal();
    }

    /// <summary>Fails every waiter.</summary>
    public void FailAll(Func<Exception> error)
    {
        while (_line.TryGetAny(out Waiter? waiter))
        {
            if (TryRemove(waiter))
                Fail(waiter, error());
        }
    }

    /// <summary>Ends the threads, because no more requests will wait.</summary>
    public void Close()
    {
        _server.End();
        _clock.Close();
    }

    /// <summary>Gives idle blocks to waiters.</summary>
    private void HandOut()
    {
        if (_line.Count == 0)
            return;
        List<(Waiter Waiter, RmaBuffer Buffer, Exception? Error)> ended = [];
        List<RmaBuffer> unused = [];
        // One round at a time, so that no two take a block for the same waiter.
        lock (_rounds)
        {
            // Memory that becomes free in the middle of a round is not for the younger waiters of a class whose head
            // was passed over just before: the thread that made it free has a round of its own, which begins with that
            // head.
            List<Waiter> passed = [];
            while (_line.FirstNotPassed(passed) is { } waiter)
            {
                if (TryTake(waiter, passed, mayRegister: false, unused, out RmaBuffer buffer, out Exception? error))
                    ended.Add((waiter, buffer, error));
                else if (_line.IsWaiting(waiter))
                    passed.Add(waiter);
            }
        }
        Finish(ended, unused);
    }

    /// <summary>Does what follows a round. It runs outside of the lock, because listeners and the provider may be called.</summary>
    private void Finish(List<(Waiter Waiter, RmaBuffer Buffer, Exception? Error)> ended, List<RmaBuffer> unused)
    {
        if (ended.Count != 0 && _line.Count == 0)
            _signals.UpdateMode();
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

    /// <summary>
    /// Does the server thread's work: registers memory for waiters, outside of rounds. Meanwhile the other waiters are
    /// served.
    /// </summary>
    private TimeSpan ServeByRegistering()
    {
        List<Waiter> passed = [];
        List<RmaBuffer> unused = [];
        while (true)
        {
            // This also hands out what became free for the waiter that was just being served, and was withheld from it meanwhile.
            HandOut();
            Waiter? waiter;
            lock (_rounds)
            {
                waiter = _line.FirstNotPassed(passed);
                _line.SetBeingServed(waiter);
            }
            if (waiter is null)
                return Timeout.InfiniteTimeSpan;
            bool hasEnded;
            RmaBuffer buffer;
            Exception? error;
            Volatile.Write(ref _taker, Thread.CurrentThread);
            try
            {
                hasEnded = TryTake(waiter, passed, mayRegister: true, unused, out buffer, out error);
            }
            finally
            {
                _line.SetBeingServed(null);
                Volatile.Write(ref _taker, null);
            }
            Finish(hasEnded ? [(waiter, buffer, error)] : [], unused);
            unused.Clear();
            if (!hasEnded && _line.IsWaiting(waiter))
                passed.Add(waiter);
            if (_hasTakerMadeRoom)
            {
                _hasTakerMadeRoom = false;
                Signal();
            }
        }
    }

    /// <summary>Takes memory for a waiter, and takes it out of the queue; see <see cref="Finish"/>.</summary>
    /// <param name="waiter">The waiter.</param>
    /// <param name="passed">Older ones that could not be served.</param>
    /// <param name="mayRegister">Whether memory may be registered for it.</param>
    /// <param name="unused">Receives what was taken in vain.</param>
    /// <param name="buffer">The memory that it gets.</param>
    /// <param name="error">Why it fails.</param>
    /// <returns>True if the waiter has left its line, with a buffer or an error.</returns>
    private bool TryTake(Waiter waiter, List<Waiter> passed, bool mayRegister, List<RmaBuffer> unused, out RmaBuffer buffer, out Exception? error)
    {
        bool mayOvertake = _line.MayOvertake(passed);
        buffer = default;
        error = null;
        try
        {
            // Listeners of Activity.CurrentChanged run here.
            if (mayRegister)
                Activity.Current = waiter.Span;
            bool isTaken = mayOvertake
                ? _finder.TryTakeForWaiter(waiter.Length, mayRegister, out buffer)
                : _finder.TryTakeUnneeded(waiter.Length, passed, mayRegister, out buffer);
            if (!isTaken)
                return false;
        }
        catch (Exception e)
        {
            // The request gets whatever a provider throws; on this thread it would end the process.
            error = e;
            return _line.TryTakeOut(waiter);
        }
        finally
        {
            if (mayRegister)
                _incidents.Guard("leaving a waiter's span", static () => Activity.Current = null);
        }
        if (!_lifetime.IsOpen)
        {
            // The pool was closed while memory was registered.
            unused.Add(buffer);
            error = _lifetime.NotOpen();
            return _line.TryTakeOut(waiter);
        }
        if (!_line.TryTakeOut(waiter))
        {
            // The waiter gave up meanwhile.
            unused.Add(buffer);
            return false;
        }
        if (mayOvertake)
            _line.MarkOvertaken(passed);
        return true;
    }

    private void Succeed(Waiter waiter, RmaBuffer buffer)
    {
        waiter.StopWatching();
        waiter.InContext(() =>
        {
            buffer = _leaks.Sample(buffer);
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
        RmaPoolExhaustedException error = _refusals.TimedOut(waiter.Length, waiter.Timeout);
        waiter.InContext(() => Record(waiter, "timeout"));
        waiter.SetException(error);
        // A younger waiter that it held back may fit now.
        Signal();
    }

    private void Record(Waiter waiter, string? errorType)
    {
        if (waiter.Number != 0)
            _counters.Instruments?.RecordWait(_settings.Time.GetElapsedTime(waiter.Since), errorType);
    }

    /// <summary>Takes a waiter out. Returns false if it was served or failed meanwhile.</summary>
    private bool TryRemove(Waiter waiter)
    {
        if (!_line.TryTakeOut(waiter))
            return false;
        if (_line.Count == 0)
            _signals.UpdateMode();
        return true;
    }
}
