using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using AllocTools.Caching;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Diagnostics;

/// <summary>
/// Publishes the statistics of pools and endpoints as metrics of the meter <see cref="AllocToolsDiagnostics.MeterName"/>;
/// docs/telemetry.md lists them.
/// </summary>
/// <remarks>
/// Rents have no overhead: all instruments except the histograms are observable, and each observation reads
/// <see cref="IRmaMemoryPool.GetStatistics"/> of the live pools. An instrument lives as long as its meter, and two
/// with equal tags on one meter hide each other, so there is one set for all pools and endpoints, and it holds them
/// weakly. Create one for each <see cref="IMeterFactory"/>; <c>AddRmaMemoryPool</c> does so, and adds and removes the
/// pools and endpoints that it opens and closes. All members are safe to call from any thread.
/// </remarks>
public sealed class RmaMetrics
{
    private readonly LiveObjects<IRmaMemoryPool> _pools = new();
    private readonly ConditionalWeakTable<IRmaMemoryPool, ReloadCounts> _reloads = [];
    private readonly PublishedEndpoints _endpoints = new();
    private readonly Histogram<double> _registration;
    private readonly Histogram<double> _wait;
    private readonly Histogram<double> _operation;

    /// <summary>Creates the instruments. They have no values until a pool is added.</summary>
    /// <param name="meterFactory">Creates the meter, and owns it.</param>
    public RmaMetrics(IMeterFactory meterFactory)
    {
        ArgumentNullException.ThrowIfNull(meterFactory);
        Meter meter = meterFactory.Create(AllocToolsDiagnostics.MeterName);
        meter.CreateObservableCounter("rma.pool.registrations", () => Pools(p => p.Registrations), "{registration}", "Memory registrations that the pool made with its RMA provider.");
        meter.CreateObservableCounter("rma.pool.deregistrations", () => Pools(p => p.Deregistrations), "{registration}", "Memory registrations that the pool gave back to its RMA provider.");
        meter.CreateObservableCounter(
            "rma.pool.registration.failures", () => Errors(p => p.RegistrationFailuresByError), "{registration}", "Memory registrations that the RMA provider refused, by error.");
        meter.CreateObservableCounter("rma.pool.hits", () => Classes(c => c.Hits), "{request}", "Requests for a buffer that the pool served from memory registered before.");
        meter.CreateObservableCounter("rma.pool.misses", () => Classes(c => c.Misses), "{request}", "Requests for a buffer for which the pool had to register memory first.");
        meter.CreateObservableCounter(
            "rma.pool.rejections", () => Errors(Rejections), "{request}", "Requests for a buffer that the pool refused at its cap: at once (exhausted), or after a wait (timeout).");
        meter.CreateObservableUpDownCounter("rma.pool.registered", Registered, "By", "Bytes of memory that the pool has registered, rented or idle, by size class.");
        meter.CreateObservableUpDownCounter("rma.pool.limit", () => Pools(p => p.LimitBytes), "By", "Bytes of memory that the pool may register: its cap in force.");
        meter.CreateObservableUpDownCounter("rma.pool.buffer.count", Buffers, "{buffer}", "Buffers in the memory that the pool has registered, rented or idle, by size class.");
        meter.CreateObservableUpDownCounter(
            "rma.pool.pending_requests", () => Pools(p => p.PendingRequests), "{request}", "Requests for a buffer that are waiting until the pool has room below its cap.");
        meter.CreateObservableUpDownCounter(
            "rma.pool.quarantined", () => Pools(p => p.QuarantinedBuffers), "{buffer}", "Returned buffers that the pool does not hand out again, because an operation (for example, one that timed out) or an exposure still holds them.");
        meter.CreateObservableCounter(
            "rma.pool.deferred_returns", () => Pools(p => p.DeferredReturns), "{buffer}", "Buffers that were disposed while operations or exposures held them; they come back to the pool with the last of these.");
        meter.CreateObservableCounter("rma.pool.late_returns", () => Pools(p => p.LateReturns), "{buffer}", "Buffers that were returned after their pool was disposed.");
        meter.CreateObservableUpDownCounter("rma.pool.stranded", () => Pools(p => p.StrandedBytes), "By", "Bytes of memory that the pool could not deregister or unmap; they count against its cap.");
        meter.CreateObservableCounter("rma.pool.unexpected_errors", () => Pools(p => p.UnexpectedErrors), "{error}", "Errors on the pool's timer and in its closing that no caller could be informed of; the log has them.");
        meter.CreateObservableCounter("rma.pool.trims", () => Pools(p => p.Trims), "{slab}", "Slabs and direct regions that the pool deregistered because they were idle for longer than IdleRetention.");
        meter.CreateObservableCounter("rma.pool.trimmed", () => Pools(p => p.TrimmedBytes), "By", "Bytes of memory that the pool deregistered because they were idle for longer than IdleRetention.");
        meter.CreateObservableCounter("rma.pool.leaks", () => Pools(p => p.Leaks), "{buffer}", "Buffers that were never returned to the pool and that nothing refers to any more; found where LeakDetection watches them.");
        meter.CreateObservableCounter("rma.pool.reloads", Reloads, "{reload}", "Changes of the pool's configuration while it ran: accepted, or rejected because they were invalid.");
        meter.CreateObservableUpDownCounter(
            "rma.pool.configuration.valid", ConfigurationValid, "{pool}", "1 where the last change of the pool's configuration was valid; 0 where it was rejected, and the options before it are still in force.");
        meter.CreateObservableCounter("rma.cache.hits", () => Caches(c => c.Hits), "{request}", "Requests for memory of the application that a registration cache of the pool had already registered.");
        meter.CreateObservableCounter("rma.cache.misses", () => Caches(c => c.Misses), "{request}", "Requests for memory of the application that a registration cache of the pool had to register first.");
        meter.CreateObservableUpDownCounter(
            "rma.cache.entries", CacheEntries, "{registration}", "Registrations that the pool's registration caches hold, leased (rented) or idle.");
        meter.CreateObservableCounter(
            "rma.cache.removals", CacheRemovals, "{registration}", "Registrations that the pool's registration caches have dropped, by reason.");
        meter.CreateObservableCounter(
            "rma.endpoint.operations", Operations, "{operation}", "Operations (writes, reads, sends, receives) of the pool's endpoints that ended, by error where they failed.");
        meter.CreateObservableCounter(
            "rma.endpoint.retries", () => Endpoints(o => o.Retries), "{operation}", "Operations of the pool's endpoints that were repeated after they had failed for a transient reason.");
        meter.CreateObservableCounter("rma.endpoint.io", Bytes, "By", "Bytes that successful operations of the pool's endpoints moved.");
        meter.CreateObservableCounter(
            "rma.endpoint.peer_changes", PeerChanges, "{peer}", "Changes of the state of the pool's endpoints' peers: lost (operations to it fail at once until it is inserted again), slow (an operation is outstanding for longer than SlowPeerTime), or up again after one of these.");
        meter.CreateObservableUpDownCounter(
            "rma.endpoint.peers", Peers, "{peer}", "Peers of the pool's endpoints by state: up, slow or lost.");
        meter.CreateObservableCounter(
            "rma.endpoint.lost_notifications", LostNotifications, "{notification}", "Notifications of peers' writes that were dropped, because the application had left MaxNotifications of them unread.");
        meter.CreateObservableUpDownCounter(
            "rma.endpoint.unread_notifications", () => LiveEndpoints(e => e.UnreadNotifications), "{notification}", "Notifications of peers' writes that wait to be read by the application.");
        meter.CreateObservableUpDownCounter(
            "rma.endpoint.outstanding", Outstanding, "{operation}", "Operations that count against the limit of the pool's endpoints: running, abandoned by their caller, or ended with a result that was never awaited (unclaimed).");
        meter.CreateObservableUpDownCounter(
            "rma.endpoint.limit", () => LiveEndpoints(e => e.Limit), "{operation}", "Operations that may be outstanding at once on the pool's endpoints, all together.");
        meter.CreateObservableUpDownCounter(
            "rma.endpoint.pending_operations", () => LiveEndpoints(e => e.Pending), "{operation}", "Operations that are waiting because their endpoint has reached its limit of outstanding operations.");
        meter.CreateObservableUpDownCounter(
            "rma.endpoint.held_back_sends", () => LiveEndpoints(e => e.HeldBackSends), "{operation}", "Sends that are waiting because their peer has not received MaxUnreceivedMessages earlier messages yet.");
        meter.CreateObservableUpDownCounter(
            "rma.endpoint.count", EndpointCount, "{endpoint}", "Endpoints of the pool by state: open, stuck (a call into the transport does not return) or failed (no operation can complete any more).");
        _registration = meter.CreateHistogram("rma.pool.registration.duration", "s", "How long it took to register memory with the RMA provider.", advice: RmaBuckets.Registration);
        _wait = meter.CreateHistogram("rma.pool.wait_time", "s", "How long requests for a buffer waited until the pool had room, or until they gave up.", advice: RmaBuckets.Registration);
        _operation = meter.CreateHistogram(
            "rma.endpoint.operation.duration", "s", "Time from the start of an operation of an endpoint to its end.", advice: RmaBuckets.Operation);
    }

    /// <summary>Publishes a pool until it is removed, closed or collected. Adding it again has no effect.</summary>
    /// <param name="pool">The pool; only a weak reference is kept.</param>
    public void Add(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        _pools.Add(pool, pool.Name);
        if (pool is IMeteredPool metered)
            metered.Instruments = new PoolInstruments(_registration, _wait, pool.Name, pool.Context.Traits.ProviderName, metered.Logger);
    }

    /// <summary>Stops publishing a pool. An unknown pool is ignored.</summary>
    /// <param name="pool">The pool.</param>
    public void Remove(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        if (_pools.TryRemove(pool, out _) && pool is IMeteredPool metered)
            metered.Instruments = null;
    }

    /// <summary>Counts a change of a pool's configuration while the pool runs; <c>AddRmaMemoryPool</c> does so when its section changes.</summary>
    /// <param name="pool">The pool; only a weak reference is kept.</param>
    /// <param name="accepted">False if it was invalid, and the previous options are still in force.</param>
    /// <param name="changed">False if nothing that is in force has changed, so that it is not counted; the configuration is valid all the same.</param>
    public void CountReload(IRmaMemoryPool pool, bool accepted, bool changed = true)
    {
        ArgumentNullException.ThrowIfNull(pool);
        _reloads.GetOrCreateValue(pool).Count(accepted, changed);
    }

    /// <summary>
    /// Publishes an endpoint until it is removed or collected; the counters of one that is removed after it was closed
    /// stay in those of its pool. Adding it again has no effect.
    /// </summary>
    /// <param name="endpoint">The endpoint; only a weak reference is kept.</param>
    /// <param name="poolName">The name of the pool that it is published with.</param>
    public void Add(IRmaEndpoint endpoint, string poolName)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        _endpoints.Add(endpoint, poolName);
        if (endpoint is IMeteredEndpoint metered)
            metered.Counters.Instruments = new EndpointInstruments(_operation, poolName, endpoint.Context.Traits.ProviderName, metered.Logger);
    }

    /// <summary>Stops publishing an endpoint; what it has counted so far remains. An unknown endpoint is ignored.</summary>
    /// <param name="endpoint">The endpoint.</param>
    public void Remove(IRmaEndpoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        if (_endpoints.Remove(endpoint) && endpoint is IMeteredEndpoint metered)
            metered.Counters.Instruments = null;
    }

    private static Dictionary<string, long> Rejections(RmaPoolStatistics pool) => new()
    {
        ["exhausted"] = pool.Rejections - pool.RentTimeouts,
        ["timeout"] = pool.RentTimeouts,
    };

    private List<Measurement<long>> Pools(Func<RmaPoolStatistics, long> value) =>
        [.. from pool in LivePools() select pool.Measure(value(pool.Now))];

    private List<Measurement<long>> Classes(Func<RmaSizeClassStatistics, long> value) =>
    [
        .. from pool in LivePools()
           from sizeClass in pool.Now.SizeClasses
           select pool.Measure(value(sizeClass), RmaTags.Tag(RmaTags.SizeClass, sizeClass.Name)),
    ];

    private List<Measurement<long>> Errors(Func<RmaPoolStatistics, IReadOnlyDictionary<string, long>> counts) =>
    [
        .. from pool in LivePools()
           from error in counts(pool.Now)
           select pool.Measure(error.Value, RmaTags.Tag(RmaTags.ErrorType, error.Key)),
    ];

    private List<Measurement<long>> Registered()
    {
        List<Measurement<long>> all = States(c => c.RentedBytes, c => c.IdleBytes);
        all.AddRange(from pool in LivePools()
                     select pool.Measure(pool.Now.OtherRegisteredBytes, RmaTags.Tag(RmaTags.SizeClass, RmaTags.Exposure), RmaTags.Tag(RmaTags.State, RmaTags.Rented)));
        return all;
    }

    private IEnumerable<(Observed<RmaPoolStatistics> Pool, RmaRegistrationCacheStatistics Caches)> LiveCaches() =>
        from pool in LivePools()
        select (pool, pool.Now.RegistrationCache ?? RmaRegistrationCacheStatistics.None);

    private List<Measurement<long>> Caches(Func<RmaRegistrationCacheStatistics, long> value) =>
        [.. from live in LiveCaches() select live.Pool.Measure(value(live.Caches))];

    private List<Measurement<long>> CacheEntries() =>
    [
        .. from live in LiveCaches()
           from state in new[] { (Name: RmaTags.Rented, Value: live.Caches.Entries - live.Caches.IdleEntries), (Name: RmaTags.Idle, Value: live.Caches.IdleEntries) }
           select live.Pool.Measure(state.Value, RmaTags.Tag(RmaTags.State, state.Name)),
    ];

    private List<Measurement<long>> CacheRemovals() =>
    [
        .. from live in LiveCaches()
           from reason in new[]
           {
               (Name: "limit", Value: live.Caches.Evictions), (Name: "cap", Value: live.Caches.Reclaims), (Name: "idle", Value: live.Caches.Trims),
               (Name: "collected", Value: live.Caches.Collections), (Name: "invalidated", Value: live.Caches.Invalidations), (Name: "replaced", Value: live.Caches.Replacements),
           }
           select live.Pool.Measure(reason.Value, RmaTags.Tag(RmaTags.Reason, reason.Name)),
    ];

    private List<Measurement<long>> Buffers() => States(c => c.RentedBuffers, c => c.IdleBuffers);

    private List<Measurement<long>> States(Func<RmaSizeClassStatistics, long> rented, Func<RmaSizeClassStatistics, long> idle) =>
    [
        .. from pool in LivePools()
           from sizeClass in pool.Now.SizeClasses
           from state in new[] { (Name: RmaTags.Rented, Value: rented(sizeClass)), (Name: RmaTags.Idle, Value: idle(sizeClass)) }
           select pool.Measure(state.Value, RmaTags.Tag(RmaTags.SizeClass, sizeClass.Name), RmaTags.Tag(RmaTags.State, state.Name)),
    ];

    private List<Measurement<long>> Operations()
    {
        List<Measurement<long>> all = Endpoints(o => o.Succeeded);
        all.AddRange(from endpoint in _endpoints.ObserveCounters()
                     from operation in endpoint.Now.Operations
                     from error in operation.FailuresByError
                     select endpoint.Measure(
                         error.Value,
                         RmaTags.Tag(RmaTags.Operation, EndpointCounters.NameOf(operation.Kind)),
                         RmaTags.Tag(RmaTags.ErrorType, error.Key)));
        return all;
    }

    private List<Measurement<long>> LostNotifications() =>
        [.. from endpoints in _endpoints.ObserveCounters() select endpoints.Measure(endpoints.Now.LostNotifications)];

    private List<Measurement<long>> PeerChanges() =>
    [
        .. from endpoints in _endpoints.ObserveCounters()
           from change in endpoints.Now.PeerChanges
           select endpoints.Measure(change.Value, RmaTags.Tag(RmaTags.State, EndpointCounters.NameOf(change.Key))),
    ];

    private List<Measurement<long>> Peers() =>
    [
        .. from endpoints in _endpoints.ObserveLive()
           from state in EndpointCounters.PeerStates
           select endpoints.Measure(endpoints.Now.Sum(e => e.Peers.GetValueOrDefault(state)), RmaTags.Tag(RmaTags.State, EndpointCounters.NameOf(state))),
    ];

    private List<Measurement<long>> Bytes() => Endpoints(o => o.Bytes);

    private List<Measurement<long>> Endpoints(Func<RmaOperationStatistics, long> value) =>
    [
        .. from endpoint in _endpoints.ObserveCounters()
           from operation in endpoint.Now.Operations
           select endpoint.Measure(value(operation), RmaTags.Tag(RmaTags.Operation, EndpointCounters.NameOf(operation.Kind))),
    ];

    private List<Measurement<long>> LiveEndpoints(Func<RmaEndpointStatistics, long> value) =>
        [.. from endpoints in _endpoints.ObserveLive() select endpoints.Measure(endpoints.Now.Sum(value))];

    private List<Measurement<long>> Outstanding() =>
    [
        .. from endpoints in _endpoints.ObserveLive()
           from state in new (string Name, Func<RmaEndpointStatistics, long> Of)[] { (RmaTags.Running, e => e.Running), (RmaTags.Abandoned, e => e.Abandoned), (RmaTags.Unclaimed, e => e.Unclaimed) }
           select endpoints.Measure(endpoints.Now.Sum(state.Of), RmaTags.Tag(RmaTags.State, state.Name)),
    ];

    private List<Measurement<long>> EndpointCount() =>
    [
        .. from endpoints in _endpoints.ObserveLive()
           from state in new[] { (Name: "open", Value: RmaEndpointState.Open), (Name: "stuck", Value: RmaEndpointState.Stuck), (Name: "failed", Value: RmaEndpointState.Failed) }
           select endpoints.Measure(endpoints.Now.Count(e => e.State == state.Value), RmaTags.Tag(RmaTags.State, state.Name)),
    ];

    private List<Measurement<long>> Reloads() =>
    [
        .. from pool in LivePools(ReloadsOf)
           from outcome in new[] { (Name: RmaTags.Accepted, Count: pool.Now.Accepted), (Name: RmaTags.Rejected, Count: pool.Now.Rejected) }
           select pool.Measure(outcome.Count, RmaTags.Tag(RmaTags.Outcome, outcome.Name)),
    ];

    private List<Measurement<long>> ConfigurationValid() =>
        [.. from pool in LivePools(ReloadsOf) select pool.Measure(pool.Now.IsValid ? 1 : 0)];

    private ReloadCounts ReloadsOf(IRmaMemoryPool pool, RmaPoolStatistics now) => _reloads.GetOrCreateValue(pool);

    /// <summary>Observes the live pools. A closed pool is included as long as it still has registered memory.</summary>
    private IEnumerable<Observed<T>> LivePools<T>(Func<IRmaMemoryPool, RmaPoolStatistics, T> look) =>
        from live in _pools.All()
        let now = live.Object.GetStatistics()
        where !now.IsClosed || now.RegisteredBytes != 0
        select new Observed<T>(look(live.Object, now), live.PoolName, live.Object.Context.Traits.ProviderName);

    private IEnumerable<Observed<RmaPoolStatistics>> LivePools() => LivePools((_, now) => now);

    /// <summary>Counts the changes of one pool's configuration, by outcome.</summary>
    private sealed class ReloadCounts
    {
        private long _accepted;
        private long _rejected;
        private bool _isInvalid;

        public long Accepted => Volatile.Read(ref _accepted);

        public long Rejected => Volatile.Read(ref _rejected);

        public bool IsValid => !Volatile.Read(ref _isInvalid);

        public void Count(bool accepted, bool changed)
        {
            Volatile.Write(ref _isInvalid, !accepted);
            if (changed)
                Interlocked.Increment(ref accepted ? ref _accepted : ref _rejected);
        }
    }
}
