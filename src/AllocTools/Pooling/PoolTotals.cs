namespace AllocTools.Pooling;

/// <summary>Sums up the counts of a pool's parts when its statistics are read.</summary>
/// <remarks>Invariant: hits + misses + rejections = requests that were answered.</remarks>
internal sealed class PoolTotals(PoolSettings settings, PoolCounters counters, PoolIncidents incidents, PoolLifetime lifetime, PoolMemory memory, SlabOwners owners, LeakDetector leaks, WaiterLine line)
{
    public RmaPoolStatistics GetStatistics() => new()
    {
        LimitBytes = memory.Budget.Limit,
        IsClosed = !lifetime.IsOpen,
        RegisteredBytes = memory.Budget.Reserved,
        Registrations = Volatile.Read(ref counters.Registrations),
        Deregistrations = Volatile.Read(ref counters.Deregistrations),
        RegistrationFailures = Volatile.Read(ref counters.RegistrationFailures),
        DeregistrationFailures = Volatile.Read(ref counters.DeregistrationFailures),
        UnmapFailures = incidents.UnmapFailures,
        StrandedBytes = incidents.StrandedBytes,
        DeferredReturns = incidents.DeferredReturns,
        LateReturns = incidents.LateReturns,
        UnexpectedErrors = incidents.UnexpectedErrors,
        RegistrationFailuresByError = counters.FailuresByError.Snapshot(),
        RentTimeouts = Volatile.Read(ref counters.RentTimeouts),
        Rejections = Volatile.Read(ref counters.Rejections),
        Trims = Volatile.Read(ref counters.Trims),
        TrimmedBytes = Volatile.Read(ref counters.TrimmedBytes),
        Leaks = leaks.Leaks,
        PendingRequests = line.Count,
        OldestPendingRequest = line.OldestSince is { } since ? settings.Time.GetElapsedTime(since) : TimeSpan.Zero,
        LastRegistrationFailure = counters.LastRegistrationFailure,
        RegistrationCache = owners.Caches.GetStatistics(),
        SizeClasses = [.. owners.Permanent.Select(o => o.GetStatistics()), .. owners.Caches.GetRow()],
    };
}
