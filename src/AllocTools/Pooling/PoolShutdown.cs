using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>
/// Ends a pool: drains it, then closes it and gives back idle memory. Memory that is still rented then is given back
/// when it is returned.
/// </summary>
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
    /// <returns>False if the time is up before that.</returns>
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
        // A caller that closes the pool gives up the rented buffers, so closing it meanwhile ends the wait.
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
        // A thread of its own gives back idle memory: the provider may take long, and the caller must not be blocked.
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

    /// <summary>Closes without waiting for rented buffers.</summary>
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
        // Nothing waits for rented buffers any longer.
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
