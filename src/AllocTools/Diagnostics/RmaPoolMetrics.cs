using System.Diagnostics.Metrics;

namespace AllocTools.Diagnostics;

/// <summary>
/// Publishes the books of pools as metrics of the meter <see cref="AllocToolsDiagnostics.MeterName"/>:
/// <c>rma.pool.registrations</c> ({registration}), <c>rma.pool.hits</c> and <c>rma.pool.misses</c> ({request}), all
/// counters, tagged with <c>rma.pool.name</c> and <c>rma.provider</c>; hits and misses with <c>rma.size_class</c> as well.
/// </summary>
/// <remarks>
/// A rent pays nothing: the instruments are observable, and each look at one reads
/// <see cref="IRmaMemoryPool.GetStatistics"/> of the pools that live. Pools are held weakly, since an instrument lives
/// as long as its meter. Make one for each <see cref="IMeterFactory"/>; <c>AddRmaMemoryPool</c> does so, and adds and
/// removes its pools. All members are safe to call from any thread.
/// </remarks>
public sealed class RmaPoolMetrics
{
    private const string PoolNameTag = "rma.pool.name";
    private const string ProviderTag = "rma.provider";
    private const string SizeClassTag = "rma.size_class";

    private readonly Lock _gate = new();
    private readonly List<WeakReference<IRmaMemoryPool>> _pools = [];

    /// <summary>Makes the instruments. There is nothing to see until a pool is added.</summary>
    /// <param name="meterFactory">Makes the meter, and owns it.</param>
    public RmaPoolMetrics(IMeterFactory meterFactory)
    {
        ArgumentNullException.ThrowIfNull(meterFactory);
        Meter meter = meterFactory.Create(AllocToolsDiagnostics.MeterName);
        meter.CreateObservableCounter(
            "rma.pool.registrations", ObserveRegistrations, "{registration}", "Registrations made with the provider.");
        meter.CreateObservableCounter(
            "rma.pool.hits", () => ObserveSizeClasses(c => c.Hits), "{request}", "Rents served from memory already registered.");
        meter.CreateObservableCounter(
            "rma.pool.misses", () => ObserveSizeClasses(c => c.Misses), "{request}", "Rents that had to register on the request's own path.");
    }

    /// <summary>Shows a pool until it is removed or collected. Adding it again changes nothing.</summary>
    /// <param name="pool">The pool; only a weak reference is kept.</param>
    public void Add(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        lock (_gate)
        {
            Forget_NeedsLock(pool);
            _pools.Add(new WeakReference<IRmaMemoryPool>(pool));
        }
    }

    /// <summary>Shows a pool no longer. A pool that is disposed is removed. One that isn't here is ignored.</summary>
    /// <param name="pool">The pool.</param>
    public void Remove(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        lock (_gate)
            Forget_NeedsLock(pool);
    }

    private List<Measurement<long>> ObserveRegistrations() =>
    [
        .. from pool in Live()
           select new Measurement<long>(
               pool.GetStatistics().Registrations,
               new KeyValuePair<string, object?>(PoolNameTag, pool.Name),
               new KeyValuePair<string, object?>(ProviderTag, pool.Context.Traits.ProviderName)),
    ];

    private List<Measurement<long>> ObserveSizeClasses(Func<RmaSizeClassStatistics, long> value) =>
    [
        .. from pool in Live()
           from sizeClass in pool.GetStatistics().SizeClasses
           select new Measurement<long>(
               value(sizeClass),
               new KeyValuePair<string, object?>(PoolNameTag, pool.Name),
               new KeyValuePair<string, object?>(ProviderTag, pool.Context.Traits.ProviderName),
               new KeyValuePair<string, object?>(SizeClassTag, sizeClass.Name)),
    ];

    private List<IRmaMemoryPool> Live()
    {
        List<IRmaMemoryPool> live = [];
        lock (_gate)
        {
            foreach (WeakReference<IRmaMemoryPool> reference in _pools)
            {
                if (reference.TryGetTarget(out IRmaMemoryPool? pool))
                    live.Add(pool);
            }
        }
        return live;
    }

    /// <summary>Takes the pool out, and those that were collected.</summary>
    private void Forget_NeedsLock(IRmaMemoryPool pool) =>
        _pools.RemoveAll(r => !r.TryGetTarget(out IRmaMemoryPool? other) || ReferenceEquals(other, pool));
}
