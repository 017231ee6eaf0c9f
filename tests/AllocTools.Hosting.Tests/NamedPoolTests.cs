using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

public sealed class NamedPoolTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Pools_side_by_side_are_opened_warmed_and_closed_each_by_itself()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddRmaMemoryPool<HostProvider>(o => o.SizeClasses.Add(new() { BlockSize = 1024, InitialBlocks = 1 }));
        builder.Services.AddRmaMemoryPool<HostProvider>("a", o => o.SizeClasses.Add(new() { BlockSize = 2048, InitialBlocks = 2 }));
        builder.Services.AddRmaMemoryPool<HostProvider>("b", o => o.SizeClasses.Add(new() { BlockSize = 4096, InitialBlocks = 3 }));
        builder.Services.AddSingleton<Consumer>();
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        Consumer consumer = host.Services.GetRequiredService<Consumer>();
        Assert.Equal(["default", "a", "b"], consumer.Pools.Select(p => p.Name));
        Assert.Equal([1024, 2048, 4096], consumer.Pools.Select(p => p.GetStatistics().SizeClasses[0].BlockSize));
        Assert.All(consumer.Pools, p => Assert.Equal(1, p.GetStatistics().Registrations));
        Assert.Equal(3, consumer.Pools.Select(p => p.Context).Distinct().Count());
        Assert.Same(consumer.Pools[1], host.Services.GetRequiredKeyedService<RmaMemoryPool<HostProvider>>("a"));
        Assert.Same(consumer.Pools[2].Context, consumer.EndpointOfB.Context);
        Assert.Same(consumer.EndpointOfB, host.Services.GetRequiredKeyedService<IRmaEndpoint>("b"));
        Assert.Null(host.Services.GetKeyedService<IRmaMemoryPool>("c"));

        await host.StopAsync(Cancelled);
        Assert.All(consumer.Pools, p => Assert.Throws<ObjectDisposedException>(() => p.Rent(1)));
        Assert.All(consumer.Pools, p => Assert.Equal(0, p.GetStatistics().RegisteredBytes));
    }

    [Fact]
    public void A_second_pool_of_one_name_is_refused_by_name()
    {
        var services = new ServiceCollection();
        services.AddRmaMemoryPool<HostProvider>("cache");
        services.AddRmaMemoryPool<HostProvider>("Cache");
        int before = services.Count;

        var error = Assert.Throws<InvalidOperationException>(() => services.AddRmaMemoryPool<RecordingProvider>("cache", TestHost.SmallPool));
        Assert.Contains("'cache'", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, services.Count);
    }

    [Fact]
    public void The_unnamed_pool_is_called_default_and_is_added_once()
    {
        var services = new ServiceCollection();
        services.AddRmaMemoryPool<HostProvider>();

        var again = Assert.Throws<InvalidOperationException>(() => services.AddRmaMemoryPool<RecordingProvider>());
        Assert.Contains("'default'", again.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => services.AddRmaMemoryPool<HostProvider>(RmaMemoryPoolName.Default));
    }

    [Theory]
    [InlineData("")]
    [InlineData(RmaMemoryPoolName.Default)]
    public async Task The_unnamed_pool_and_its_options_are_found_by_either_name_whichever_it_was_added_under(string added)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        IRmaMemoryPoolBuilder pool = added.Length == 0
            ? builder.Services.AddRmaMemoryPool<HostProvider>(TestHost.SmallPool)
            : builder.Services.AddRmaMemoryPool<HostProvider>(added, TestHost.SmallPool);
        pool.ConfigureProvider<HostProviderOptions>(o => o.Locking = PageLocking.None);
        builder.Services.Configure<RmaMemoryPoolOptions>(pool.Name, o => o.DrainTimeout = TimeSpan.FromSeconds(7));
        builder.Services.AddRmaMemoryPool<HostProvider>("other", TestHost.SmallPool).ShareProviderOf(RmaMemoryPoolName.Default);
        builder.Services.AddHealthChecks().AddRmaMemoryPool();
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        IRmaMemoryPool found = host.Services.GetRequiredService<IRmaMemoryPool>();
        Assert.Equal("default", found.Name);
        if (added.Length != 0)
        {
            Assert.Same(found, host.Services.GetRequiredKeyedService<IRmaMemoryPool>(added));
            Assert.Same(found, host.Services.GetRequiredKeyedService<RmaMemoryPool<HostProvider>>(added));
            Assert.Same(host.Services.GetRequiredService<IRmaEndpoint>(), host.Services.GetRequiredKeyedService<IRmaEndpoint>(added));
        }
        Assert.Same(found.Context, host.Services.GetRequiredKeyedService<IRmaMemoryPool>("other").Context);
        HealthReport health = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(Cancelled);
        Assert.Equal(HealthStatus.Healthy, Assert.Single(health.Entries).Value.Status);
        var options = host.Services.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>();
        var providerOptions = host.Services.GetRequiredService<IOptionsMonitor<HostProviderOptions>>();
        foreach (string name in (string[])["", RmaMemoryPoolName.Default])
        {
            Assert.Equal((TimeSpan.FromSeconds(7), 4096), (options.Get(name).DrainTimeout, Assert.Single(options.Get(name).SizeClasses).BlockSize));
            Assert.Equal(PageLocking.None, providerOptions.Get(name).Locking);
        }
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public void A_pool_on_libfabric_has_its_endpoint_also_by_its_own_type()
    {
        var services = new ServiceCollection();
        services.AddRmaMemoryPool<LibfabricProvider>();
        services.AddRmaMemoryPool<LibfabricProvider>("x");
        services.AddRmaMemoryPool<HostProvider>("y");

        Assert.Equal([null, "x"], services.Where(d => d.ServiceType == typeof(LibfabricEndpoint)).Select(d => d.ServiceKey));
        Assert.Equal([null, "x", "y"], services.Where(d => d.ServiceType == typeof(IRmaEndpoint)).Select(d => d.ServiceKey));
    }

    [Theory]
    [InlineData("", "for ''")]
    [InlineData("x", "for 'x'")]
    public async Task A_provider_may_ask_for_the_activation_and_for_keyed_services(string name, string providerName)
    {
        var journal = new Journal();
        var services = new ServiceCollection();
        services.AddSingleton(new Journal());
        services.AddKeyedSingleton("transport", journal);
        if (name.Length == 0)
            services.AddRmaMemoryPool<KeyedProvider>(TestHost.SmallPool);
        else
            services.AddRmaMemoryPool<KeyedProvider>(name, TestHost.SmallPool);
        await using ServiceProvider provider = services.BuildServiceProvider();

        IRmaMemoryPool pool = name.Length == 0
            ? provider.GetRequiredService<IRmaMemoryPool>()
            : provider.GetRequiredKeyedService<IRmaMemoryPool>(name);
        await pool.WarmUpAsync(Cancelled);
        Assert.Equal(providerName, pool.Context.Traits.ProviderName);
        Assert.Equal(["registered"], journal.Events);
    }

    [Fact]
    public async Task The_constructor_that_is_marked_is_used_without_the_activation()
    {
        var services = new ServiceCollection();
        services.AddSingleton<Journal>();
        services.AddRmaMemoryPool<MarkedProvider>("x");
        await using ServiceProvider provider = services.BuildServiceProvider();

        Assert.Equal("marked", provider.GetRequiredKeyedService<IRmaMemoryPool>("x").Context.Traits.ProviderName);
    }

    private sealed class Consumer(
        IRmaMemoryPool unnamed,
        [FromKeyedServices("a")] IRmaMemoryPool a,
        [FromKeyedServices("b")] IRmaMemoryPool b,
        [FromKeyedServices("b")] IRmaEndpoint endpointOfB)
    {
        public IReadOnlyList<IRmaMemoryPool> Pools { get; } = [unnamed, a, b];

        public IRmaEndpoint EndpointOfB { get; } = endpointOfB;
    }
}
