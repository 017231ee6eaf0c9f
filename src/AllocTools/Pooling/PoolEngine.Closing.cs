using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <content>The pool's end: it drains, then it closes, and its context is released with its last region.</content>
internal sealed partial class PoolEngine
{
    private const int Open = 0;
    private const int Draining = 1;
    private const int Closed = 2;

    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly IDisposable _context;
    private int _state;
    private int _liveRegions = 1;

    /// <summary>It is neither draining nor closed.</summary>
    public bool IsOpen => Volatile.Read(ref _state) == Open;

    public bool IsClosed => Volatile.Read(ref _state) == Closed;

    private void NoteDrained()
    {
        if (Volatile.Read(ref _state) != Open && Rented == 0)
            _drained.TrySetResult();
    }

    public void AddRegion() => Interlocked.Increment(ref _liveRegions);

    public void RemoveRegion()
    {
        if (Interlocked.Decrement(ref _liveRegions) == 0)
            Incidents.Guard("releasing its context", _context.Dispose);
    }

    /// <summary>Stops renting, and waits until nothing is out.</summary>
    /// <returns>False when the time is up before.</returns>
    public async ValueTask<bool> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        int before = Interlocked.CompareExchange(ref _state, Draining, Open);
        if (before == Open)
        {
            UpdateMode();
            _waiters.FailAll(Refusals.NotOpen);
        }
        // The state must be visible before what is out is read; see AfterRelease.
        Fence.Full();
        NoteDrained();
        // Whoever disposes the pool has given up on what is out; one that is disposed meanwhile ends the wait.
        if (before != Closed && !_drained.Task.IsCompleted)
        {
            if (timeout != TimeSpan.Zero && Rented is > 0 and long rented)
                Log.Draining(Logger, Name, timeout == Timeout.InfiniteTimeSpan ? "without a limit" : $"up to {InWords.Time(timeout)}", rented, Leaks.OwnersOf(rented));
            try
            {
                await _drained.Task.WaitAsync(timeout, _time, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                return Rented == 0;
            }
        }
        return Rented == 0;
    }

    public async ValueTask CloseAsync(TimeSpan drainTimeout)
    {
        if (IsClosed)
            return;
        await DrainAsync(drainTimeout, CancellationToken.None).ConfigureAwait(false);
        // What is idle is given back by a thread of its own: the provider may take long, and the caller must not be blocked.
        TaskCompletionSource closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        OnDemandThread closer = new($"{Name} closes", () =>
        {
            Incidents.Guard("closing the pool", Dispose);
            closed.TrySetResult();
            return Timeout.InfiniteTimeSpan;
        });
        closer.Signal();
        closer.End();
        await closed.Task.ConfigureAwait(false);
    }

    /// <summary>Closes without waiting for what is out.</summary>
    public void Dispose()
    {
        int before = Interlocked.Exchange(ref _state, Closed);
        if (before == Closed)
            return;
        UpdateMode();
        if (before == Open)
            _waiters.FailAll(Refusals.NotOpen);
        _waiters.Close();
        Requests.Close();
        _trimmer.Dispose();
        foreach (SlabOwner owner in AllOwners)
            Incidents.Guard("giving back idle memory", owner.ReleaseIdle);
        // What is still out is waited for no longer.
        _drained.TrySetResult();
        long outstanding = Outstanding;
        if (outstanding != 0)
        {
            Log.ClosedWithBuffersOut(Logger, Name, outstanding, Budget.Reserved);
            Leaks.ReportOut();
        }
        RemoveRegion();
    }

    /// <exception cref="ObjectDisposedException">It is draining or closed.</exception>
    public void CheckOpen()
    {
        if (Volatile.Read(ref _state) != Open)
            throw Refusals.NotOpen();
    }
}
