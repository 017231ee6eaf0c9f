using System.Runtime.CompilerServices;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>
/// Serves requests that the thread's magazine does not: they get what the <see cref="BlockFinder"/> finds, are refused,
/// or wait.
/// </summary>
internal sealed class ColdRequests(
    PoolSettings settings,
    PoolMemory memory,
    LeakDetector leaks,
    Refusals refusals,
    WaiterLine line,
    BlockFinder finder,
    WaiterQueue waiters,
    Registrar registrar)
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    public RmaBuffer Rent(long length)
    {
        refusals.CheckRequest(length);
        if (finder.TryTakeAtOnce(length, out RmaBuffer buffer, out bool isLate))
            return leaks.Sample(buffer);
        refusals.Count(isLate);
        throw isLate ? refusals.LateFor(length, settings.RentTimeout)
            : refusals.NeverFits(length) ? refusals.DoesNotFit(length)
            : refusals.Exhausted(length, InWords.Size(length), "Return buffers sooner, raise MaxRegisteredBytes, or use RentAsync to wait.");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public bool TryRent(long length, out RmaBuffer buffer)
    {
        refusals.CheckRequest(length);
        if (finder.TryTakeAtOnce(length, out buffer, out bool isLate))
        {
            buffer = leaks.Sample(buffer);
            return true;
        }
        refusals.Count(isLate);
        buffer = default;
        return false;
    }

    /// <summary>Takes idle memory. Another thread makes the calls into the provider, so the caller is never blocked.</summary>
    public ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken)
    {
        refusals.CheckRequest(length);
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled<RmaBuffer>(cancellationToken);
        TimeSpan timeout = settings.RentTimeout;
        bool isImpatient = timeout == TimeSpan.Zero;
        bool mayRegister;
        try
        {
            if (finder.TryTakeIdleAsNewcomer(length, out RmaBuffer buffer, out mayRegister))
                return new ValueTask<RmaBuffer>(leaks.Sample(buffer));
            // Memory in transit may make room; a request that does not wait in line looks again as a rent does.
            mayRegister |= isImpatient && line.Count == 0 && memory.InTransit.Bytes != 0;
            if (!mayRegister && (isImpatient || refusals.NeverFits(length)))
                throw refusals.AtOnce(length);
        }
        catch (Exception e)
        {
            // Only the caller's mistakes are thrown at once. The task reports that the pool was closed meanwhile, or has no room.
            return ValueTask.FromException<RmaBuffer>(e);
        }
        Waiter waiter = new(length, finder.ClassOf(length), finder.BytesFor(length), settings.Time.GetTimestamp())
        {
            Timeout = isImpatient ? Timeout.InfiniteTimeSpan : timeout,
            IsImpatient = isImpatient,
        };
        waiters.Add(waiter, cancellationToken);
        if (mayRegister)
        {
            waiters.FailIfNotOpen();
            registrar.Add(waiter);
        }
        else
        {
            waiters.Wait(waiter);
        }
        // The waiter is the task itself: the thread that makes room releases a caller that blocks on it, even if the
        // thread pool has no thread left.
        return new ValueTask<RmaBuffer>(waiter.Task);
    }
}
