using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using Autofac;
using Autofac.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests a third-party container without keyed services.</summary>
public sealed class AutofacTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_host_on_autofac_opens_warms_and_closes_a_pool()
    {
        var journal = new Journal();
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        // Only Autofac knows the provider's dependency.
        builder.ConfigureContainer(new AutofacServiceProviderFactory(), c => c.RegisterInstance(journal));
        builder.Services.AddRmaMemoryPool<RecordingProvider>(TestHost.SmallPool);
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        Assert.IsType<AutofacServiceProvider>(host.Services);
        IRmaMemoryPool pool = host.Services.GetRequiredService<IRmaMemoryPool>();
        Assert.Same(pool, host.Services.GetRequiredService<RmaMemoryPool<RecordingProvider>>());
        Assert.Same(pool.Context, host.Services.GetRequiredService<IRmaEndpoint>().Context);
        pool.Rent(10).Dispose();
        Assert.Equal((1, 0), (pool.GetStatistics().Hits, pool.GetStatistics().Misses));
        await host.StopAsync(Cancelled);

        string[] expected =
            ["provider opened", "registered", "endpoint opened", "endpoint closed", "deregistered", "context closed", "provider disposed"];
        Assert.Equal(expected, journal.Events);
        host.Dispose();
        Assert.Equal(expected, journal.Events);
    }

    [Fact]
    public async Task Autofac_alone_closes_everything_in_order()
    {
        var journal = new Journal();
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.ConfigureContainer(new AutofacServiceProviderFactory(), c => c.RegisterInstance(journal));
        builder.Services.AddRmaMemoryPool<RecordingProvider>(TestHost.SmallPool);
        IHost host = builder.Build();
        host.Services.GetRequiredService<IRmaEndpoint>();
        await host.Services.GetRequiredService<IRmaMemoryPool>().WarmUpAsync(Cancelled);
        host.Dispose();

        Assert.Equal(["endpoint closed", "deregistered", "context closed", "provider disposed"], journal.Events.TakeLast(4));
    }

    [Fact]
    public async Task A_provider_that_takes_the_activation_works_on_autofac()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "Pool": { "MaxRegisteredBytes": 4096000, "Provider": { "Locking": "None" } } }""");
        builder.ConfigureContainer(new AutofacServiceProviderFactory());
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("Pool"));
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        IRmaMemoryPool pool = host.Services.GetRequiredService<IRmaMemoryPool>();
        Assert.Equal("host", pool.Context.Traits.ProviderName);
        Assert.Equal(4096000, pool.GetStatistics().LimitBytes);
        await host.StopAsync(Cancelled);
        Assert.Equal(0, pool.GetStatistics().RegisteredBytes);
    }
}
