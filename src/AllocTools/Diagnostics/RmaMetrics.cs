using System.Diagnostics.Metrics;

namespace AllocTools.Diagnostics;

/// <summary>
/// Publishes the books of pools and endpoints as metrics of the meter <see cref="AllocToolsDiagnostics.MeterName"/>;
/// docs/telemetry.md lists them.
/// </summary>
/// <remarks>
/// A rent pays nothing: all but the histograms are observable, and each look at one reads
/// <see cref="IRmaMemoryPool.GetStatistics"/> of the pools that live. An instrument lives as long as its meter, and two
/// with equal tags on one meter hide each other, so there is one set for all pools and endpoints, and it holds them
/// weakly. Make one for each <see cref="IMeterFactory"/>; <c>AddRmaMemoryPool</c> does so, and adds and removes what it
/// opens and closes. All members are safe to call from any thread.
/// </remarks>
public sealed class RmaMetrics
{
    private readonly LiveObjects<IRmaMemoryPool> _pools = new();
    private readonly PublishedEndpoints _endpoints = new();
    private readonly Histogram<double> _registration;
    private readonly Histogram<double> _wait;
    private readonly Histogram<double> _operation;

    /// <summary>Makes the instruments. There is nothing to see until a pool is added.</summary>
    /// <param name="meterFactory">Makes the meter, and owns it.</param>
    public RmaMetrics(IMeterFactory meterFactory)
    {
        ArgumentNullException.ThrowIfNull(meterFactory);
        Meter meter = meterFactory.Create(AllocToolsDiagnostics.MeterName);
        meter.CreateObservableCounter("rma.pool.registrations", () => Pools(p => p.Registrations), "{registration}", "Registrations made with the provider.");
        meter.CreateObservableCounter("rma.pool.deregistrations", () => Pools(p => p.Deregistrations), "{registration}", "Registrations undone.");
        meter.CreateObservableCounter(
            "rma.pool.registration.failures", () => Errors(p => p.RegistrationFailuresByError), "{registration}", "Registrations that the provider refused.");
        meter.CreateObservableCounter("rma.pool.hits", () => Classes(c => c.Hits), "{request}", "Rents served from memory already registered.");
        meter.CreateObservableCounter("rma.pool.misses", () => Classes(c => c.Misses), "{request}", "Rents that had to register on the request's own path.");
        meter.CreateObservableCounter("rma.pool.rejections", () => Errors(Rejections), "{request}", "Requests refused at the cap, at once or after a wait.");
        meter.CreateObservableUpDownCounter("rma.pool.registered", Registered, "By", "What is registered.");
        meter.CreateObservableUpDownCounter("rma.pool.limit", () => Pools(p => p.LimitBytes), "By", "The cap in force.");
        meter.CreateObservableUpDownCounter("rma.pool.buffer.count", Buffers, "{buffer}", "Buffers in registered memory.");
        meter.CreateObservableUpDownCounter("rma.pool.pending_requests", () => Pools(p => p.PendingRequests), "{request}", "Requests that wait for room.");
        meter.CreateObservableUpDownCounter(
            "rma.pool.quarantined", () => Pools(p => p.QuarantinedBuffers), "{buffer}", "Returned buffers that an operation which timed out still holds.");
        meter.CreateObservableCounter("rma.pool.trims", () => Pools(p => p.Trims), "{slab}", "Slabs and direct regions given back because they were idle for long.");
        meter.CreateObservableCounter("rma.pool.trimmed", () => Pools(p => p.TrimmedBytes), "By", "Their bytes.");
        meter.CreateObservableCounter("rma.pool.leaks", () => Pools(p => p.Leaks), "{buffer}", "Watched buffers that were never returned and that nothing refers to.");
        meter.CreateObservableCounter("rma.endpoint.operations", Operations, "{operation}", "Operations that ended.");
        meter.CreateObservableCounter("rma.endpoint.io", Bytes, "By", "Bytes moved by operations that completed well.");
        _registration = meter.CreateHistogram("rma.pool.registration.duration", "s", "How long registering took.", advice: RmaBuckets.Registration);
        _wait = meter.CreateHistogram("rma.pool.wait_time", "s", "How long requests waited for room.", advice: RmaBuckets.Registration);
        _operation = meter.CreateHistogram("rma.endpoint.operation.duration", "s", "From the start of an operation to its completion.", advice: RmaBuckets.Operation);
    }

    /// <summary>Shows a pool until it is removed, closed or collected. Adding it again changes nothing.</summary>
    /// <param name="pool">The pool; only a weak reference is kept.</param>
    public void Add(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        _pools.Add(pool, pool.Name);
        if (pool is IMeteredPool metered)
            metered.Instruments = new PoolInstruments(_registration, _wait, pool.Name, pool.Context.Traits.ProviderName, metered.Logger);
    }

    /// <summary>Shows a pool no longer. One that isn't here is ignored.</summary>
    /// <param name="pool">The pool.</param>
    public void Remove(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        if (_pools.TryRemove(pool, out _) && pool is IMeteredPool metered)
            metered.Instruments = null;
    }

    /// <summary>
    /// Shows an endpoint until it is removed or collected; one that is removed after it was closed stays in the counters of
    /// its pool. Adding it again changes nothing.
    /// </summary>
    /// <param name="endpoint">The endpoint; only a weak reference is kept.</param>
    /// <param name="poolName">The pool that it is shown with.</param>
    public void Add(IRmaEndpoint endpoint, string poolName)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        _endpoints.Add(endpoint, poolName);
        if (endpoint is IMeteredEndpoint metered)
            metered.Counters.Instruments = new EndpointInstruments(_operation, poolName, endpoint.Context.Traits.ProviderName, metered.Logger);
    }

    /// <summary>Counts an endpoint no further; what it did stays counted. One that isn't here is ignored.</summary>
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
        all.AddRange(from endpoint in _endpoints.Observe()
                     from operation in endpoint.Now.Operations
                     from error in operation.FailuresByError
                     select endpoint.Measure(
                         error.Value,
                         RmaTags.Tag(RmaTags.Operation, EndpointCounters.NameOf(operation.Kind)),
                         RmaTags.Tag(RmaTags.ErrorType, error.Key)));
        return all;
    }

    private List<Measurement<long>> Bytes() => Endpoints(o => o.Bytes);

    private List<Measurement<long>> Endpoints(Func<RmaOperationStatistics, long> value) =>
    [
        .. from endpoint in _endpoints.Observe()
           from operation in endpoint.Now.Operations
           select endpoint.Measure(value(operation), RmaTags.Tag(RmaTags.Operation, EndpointCounters.NameOf(operation.Kind))),
    ];

    /// <summary>A pool that is closed is shown as long as something of it is out.</summary>
    private IEnumerable<Observed<RmaPoolStatistics>> LivePools() =>
        from live in _pools.All()
        let now = live.Object.GetStatistics()
        where !now.IsClosed || now.RegisteredBytes != 0
        select new Observed<RmaPoolStatistics>(now, live.PoolName, live.Object.Context.Traits.ProviderName);
}
