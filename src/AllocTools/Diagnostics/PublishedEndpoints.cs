using AllocTools.Endpoints;

namespace AllocTools.Diagnostics;

/// <summary>
/// The endpoints that are published. Endpoints of one pool and one provider have the same tags, so their statistics are
/// added up; the counters of a removed endpoint stay in the sum, because a counter must not decrease while its series
/// continues.
/// </summary>
internal sealed class PublishedEndpoints
{
    private readonly Lock _gate = new();
    private readonly LiveObjects<IRmaEndpoint> _live = new();
    private readonly Dictionary<(string PoolName, string Provider), RmaEndpointStatistics> _removed = [];

    public void Add(IRmaEndpoint endpoint, string poolName)
    {
        lock (_gate)
            _live.Add(endpoint, poolName);
    }

    /// <summary>Removes an endpoint, and keeps the current values of its counters.</summary>
    /// <returns>False if it was not found.</returns>
    public bool Remove(IRmaEndpoint endpoint)
    {
        lock (_gate)
        {
            if (!_live.TryRemove(endpoint, out string? poolName))
                return false;
            (string, string) key = (poolName, endpoint.Context.Traits.ProviderName);
            RmaEndpointStatistics last = endpoint.GetStatistics();
            _removed[key] = _removed.TryGetValue(key, out RmaEndpointStatistics? before) ? RmaEndpointStatistics.SumOfCounters([before, last]) : last;
            return true;
        }
    }

    /// <summary>Returns the counters of all endpoints, by pool and provider.</summary>
    public List<Observed<RmaEndpointStatistics>> ObserveCounters()
    {
        lock (_gate)
        {
            var removed = from one in _removed select (one.Key, Now: one.Value);
            return
            [
                .. from one in Live().Concat(removed)
                   group one.Now by one.Key into same
                   select new Observed<RmaEndpointStatistics>(RmaEndpointStatistics.SumOfCounters([.. same]), same.Key.PoolName, same.Key.Provider),
            ];
        }
    }

    /// <summary>Returns the present work of the open endpoints, by pool and provider.</summary>
    public List<Observed<RmaEndpointStatistics[]>> ObserveLive()
    {
        lock (_gate)
        {
            return
            [
                .. from one in Live()
                   where one.Now.State != RmaEndpointState.Closed
                   group one.Now by one.Key into same
                   select new Observed<RmaEndpointStatistics[]>([.. same], same.Key.PoolName, same.Key.Provider),
            ];
        }
    }

    private IEnumerable<((string PoolName, string Provider) Key, RmaEndpointStatistics Now)> Live() =>
        from one in _live.All()
        select ((one.PoolName, one.Object.Context.Traits.ProviderName), one.Object.GetStatistics());
}
