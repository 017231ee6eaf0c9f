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

    /// <summary>Starts the services, each of which moves bytes to and from every other one.</summary>
    public static async Task<Services> StartBusyAsync(HostNetwork network, string fabric)
    {
        Services services = await StartAsync(network, fabric);
        foreach (Service service in services.All)
        {
            foreach (Service other in services.OthersOf(service))
                await service.StartTrafficAsync(other);
        }
        foreach (Service service in services.All)
        {
            foreach (Service other in services.OthersOf(service))
                await service.ReachesAsync(other, rounds: 5);
        }
        return services;
    }

    public static async Task AssertGoesOnAsync(Service one, Service other)
    {
        await one.ReachesAsync(other, rounds: 5);
        await other.ReachesAsync(one, rounds: 5);
    }

    public IEnumerable<Service> OthersOf(Service service) => _all.Where(s => s != service);

    /// <summary>Closes the endpoints of all remaining services, after which nothing is rented or in quarantine.</summary>
    public async Task CloseAsync(params Service[] ended)
    {
        foreach (Service service in _all.Except(ended))
            Assert.Equal(Service.NothingLeft, await service.AskAsync("close"));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Service service in _all)
            await service.DisposeAsync();
    }
}
