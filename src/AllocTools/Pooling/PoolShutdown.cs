using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>The pool's end: it drains, then it closes and gives back what is idle. What is rented then is given back when it is returned.</summary>
internal sealed class PoolShutdown(
    PoolSettings settings,
    PoolIncidents incidents,
    PoolLifetime lifetime,
    PoolMemory memory,
    SlabOwners owners,
    LeakDetector leaks,
    WaiterQueue waiters,
    Registrar registrar,
    PoolTrimmer trimmer,
    IPoolSignals signals)
{
    /// <summary>Stops renting, and waits until nothing is rented.</summary>
    /// <returns>False when the time is up before.</returns>
    public async ValueTask<bool> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (lifetime.TryBeginDraining(out bool wasClosed))
        {
            signals.UpdateMode();
            waiters.FailAll(lifetime.NotOpen);
        }
        // The state must be visible before what is rented is read; see PoolEngine.AfterRelease.
        Fence.Full();
        lifetime.NoteDrained();
        // A caller that closes the pool gives up the rented buffers; where it is closed meanwhile, that ends the wait.
        if (!wasClosed && !lifetime.Drained.IsCompleted)
        {
            if (timeout != TimeSpan.Zero && owners.Rented is > 0 and long rented)
                Log.Draining(settings.Logger, settings.Name, timeout == Timeout.InfiniteTimeSpan ? "without a limit" : $"up to {InWords.Time(timeout)}", rented, leaks.OwnersOf(rented));
            try
            {
                await lifetime.Drained.WaitAsync(timeout, settings.Time, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                return owners.Rented == 0;
            }
        }
        return owners.Rented == 0;
    }

    public async ValueTask CloseAsync(TimeSpan drainTimeout)
    {
        if (lifetime.IsClosed)
            return;
        await DrainAsync(drainTimeout, CancellationToken.None).ConfigureAwait(false);
        // A thread of its own gives back what is idle: the provider may take long, and the caller must not be blocked.
        TaskCompletionSource closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        OnDemandThread closer = new($"{settings.Name} closes", () =>
        {
            incidents.Guard("closing the pool", Close);
            closed.TrySetResult();
            return Timeout.InfiniteTimeSpan;
        });
        closer.Signal();
        closer.End();
        await closed.Task.ConfigureAwait(false);
    }

    /// <summary>Closes without waiting for what is rented.</summary>
    public void Close()
    {
        if (!lifetime.TryClose(out bool wasOpen))
            return;
        signals.UpdateMode();
        if (wasOpen)
            waiters.FailAll(lifetime.NotOpen);
        waiters.Close();
        registrar.Close();
        trimmer.Dispose();
        foreach (SlabOwner owner in owners.All)
            incidents.Guard("giving back idle memory", owner.ReleaseIdle);
        // What is still rented is waited for no longer.
        lifetime.EndDrain();
        long outstanding = owners.Outstanding;
        if (outstanding != 0)
        {
            Log.ClosedWithBuffersOut(settings.Logger, settings.Name, outstanding, memory.Budget.Reserved);
            leaks.ReportOut();
        }
        lifetime.RemoveHolder();
    }
}
