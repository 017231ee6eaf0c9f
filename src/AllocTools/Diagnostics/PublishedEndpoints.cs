namespace AllocTools.Diagnostics;

/// <summary>
/// The endpoints that are published. Those of one pool and one provider have the same tags, so their books are added up;
/// those of an endpoint that was removed stay in the sum, since a counter must not fall while its series goes on.
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

    /// <summary>Takes one out, and keeps what its books say now.</summary>
    /// <returns>False: it isn't here.</returns>
    public bool Remove(IRmaEndpoint endpoint)
    {
        lock (_gate)
        {
            if (!_live.TryRemove(endpoint, out string? poolName))
                return false;
            (string, string) key = (poolName, endpoint.Context.Traits.ProviderName);
            RmaEndpointStatistics last = endpoint.GetStatistics();
            _removed[key] = _removed.TryGetValue(key, out RmaEndpointStatistics? before) ? RmaEndpointStatistics.Sum([before, last]) : last;
            return true;
        }
    }

    public List<Observed<RmaEndpointStatistics>> Observe()
    {
        lock (_gate)
        {
            var live = from one in _live.All()
                       select (Key: (one.PoolName, Provider: one.Object.Context.Traits.ProviderName), Books: one.Object.GetStatistics());
            var removed = from one in _removed select (one.Key, Books: one.Value);
            return
            [
                .. from one in live.Concat(removed)
                   group one.Books by one.Key into same
                   select new Observed<RmaEndpointStatistics>(RmaEndpointStatistics.Sum(same), same.Key.PoolName, same.Key.Provider),
            ];
        }
    }
}
