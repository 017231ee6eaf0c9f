using AllocTools.Caching;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>The readings that the meter must give for a pool, according to its statistics.</summary>
internal static class PoolReadings
{
    public static List<Reading> Of(IRmaMemoryPool pool)
    {
        RmaPoolStatistics now = pool.GetStatistics();
        string tags = $"rma.pool.name={pool.Name} rma.provider={pool.Context.Traits.ProviderName}";
        List<Reading> readings =
        [
            new("rma.pool.registrations {registration}", tags, now.Registrations),
            new("rma.pool.deregistrations {registration}", tags, now.Deregistrations),
            new("rma.pool.rejections {request}", $"error.type=exhausted {tags}", now.Rejections - now.RentTimeouts),
            new("rma.pool.rejections {request}", $"error.type=timeout {tags}", now.RentTimeouts),
            new("rma.pool.limit By", tags, now.LimitBytes),
            new("rma.pool.pending_requests {request}", tags, now.PendingRequests),
            new("rma.pool.quarantined {buffer}", tags, now.QuarantinedBuffers),
            new("rma.pool.deferred_returns {buffer}", tags, now.DeferredReturns),
            new("rma.pool.late_returns {buffer}", tags, now.LateReturns),
            new("rma.pool.stranded By", tags, now.StrandedBytes),
            new("rma.pool.unexpected_errors {error}", tags, now.UnexpectedErrors),
            new("rma.pool.trims {slab}", tags, now.Trims),
            new("rma.pool.trimmed By", tags, now.TrimmedBytes),
            new("rma.pool.leaks {buffer}", tags, now.Leaks),
            new("rma.pool.reloads {reload}", $"rma.outcome=accepted {tags}", 0),
            new("rma.pool.reloads {reload}", $"rma.outcome=rejected {tags}", 0),
            new("rma.pool.configuration.valid {pool}", tags, 1),
            new("rma.pool.registered By", $"{tags} rma.size_class=exposure rma.state=rented", now.RegisteredBytes - now.SizeClasses.Sum(c => c.RegisteredBytes)),
        ];
        RmaRegistrationCacheStatistics? cache = now.RegistrationCache;
        readings.Add(new("rma.cache.hits {request}", tags, cache?.Hits ?? 0));
        readings.Add(new("rma.cache.misses {request}", tags, cache?.Misses ?? 0));
        readings.Add(new("rma.cache.entries {registration}", $"{tags} rma.state=rented", (cache?.Entries - cache?.IdleEntries) ?? 0));
        readings.Add(new("rma.cache.entries {registration}", $"{tags} rma.state=idle", cache?.IdleEntries ?? 0));
        foreach ((string reason, long? removed) in new[]
        {
            ("limit", cache?.Evictions), ("cap", cache?.Reclaims), ("idle", cache?.Trims), ("collected", cache?.Collections), ("invalidated", cache?.Invalidations), ("replaced", cache?.Replacements),
        })
            readings.Add(new("rma.cache.removals {registration}", $"{tags} rma.reason={reason}", removed ?? 0));
        foreach ((string error, long count) in now.RegistrationFailuresByError)
            readings.Add(new("rma.pool.registration.failures {registration}", $"error.type={error} {tags}", count));
        foreach (RmaSizeClassStatistics sizeClass in now.SizeClasses)
        {
            string ofClass = $"{tags} rma.size_class={sizeClass.Name}";
            readings.Add(new("rma.pool.hits {request}", ofClass, sizeClass.Hits));
            readings.Add(new("rma.pool.misses {request}", ofClass, sizeClass.Misses));
            readings.Add(new("rma.pool.registered By", $"{ofClass} rma.state=rented", sizeClass.RentedBytes));
            readings.Add(new("rma.pool.registered By", $"{ofClass} rma.state=idle", sizeClass.IdleBytes));
            readings.Add(new("rma.pool.buffer.count {buffer}", $"{ofClass} rma.state=rented", sizeClass.RentedBuffers));
            readings.Add(new("rma.pool.buffer.count {buffer}", $"{ofClass} rma.state=idle", sizeClass.IdleBuffers));
        }
        return readings;
    }
}
