using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>A service on each host of a network.</summary>
internal sealed class Services : IAsyncDisposable
{
    private readonly List<Service> _all = [];

    private Services()
    {
    }

    public IReadOnlyList<Service> All => _all;

    public Service this[int number] => _all[number];

    public static async Task<Services> StartAsync(HostNetwork network, string fabric)
    {
        var services = new Services();
        foreach (NetworkHost host in network.Hosts)
            services._all.Add(new Service(host, fabric, services._all.Count));
        await Task.WhenAll(services._all.Select(static s => s.AskAsync("address")));
        return services;
    }

    public IEnumerable<Service> OthersOf(Service service) => _all.Where(s => s != service);

    /// <summary>All that are there close their endpoints, after which nothing is rented or in quarantine.</summary>
    public async Task CloseAsync(params Service[] ended)
    {
        foreach (Service service in _all.Except(ended))
            Assert.Equal("0 rented, 0 quarantined", await service.AskAsync("close"));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Service service in _all)
            await service.DisposeAsync();
    }
}
