using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests two pools on one opened provider.</summary>
public sealed class SharedProviderTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task The_provider_is_opened_once_and_closed_with_the_last_pool(bool ownerFirst)
    {
        var journal = new Journal();
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        builder.Services.AddSingleton(journal);
        if (ownerFirst)
            builder.Services.AddRmaMemoryPool<RecordingProvider>(TestHost.SmallPool);
        builder.Services.AddRmaMemoryPool<RecordingProvider>("other", TestHost.SmallPool).ShareProviderOf(RmaMemoryPoolName.Default);
        if (!ownerFirst)
            builder.Services.AddRmaMemoryPool<RecordingProvider>(TestHost.SmallPool);
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        IRmaMemoryPool own = host.Services.GetRequiredService<IRmaMemoryPool>();
        IRmaMemoryPool other = host.Services.GetRequiredKeyedService<IRmaMemoryPool>("other");
        Assert.Same(own.Context, other.Context);
        Assert.NotSame(host.Services.GetRequiredService<IRmaEndpoint>(), host.Services.GetRequiredKeyedService<IRmaEndpoint>("other"));
        await host.StopAsync(Cancelled);

        Assert.Equal(1, journal.Count("provider opened"));
        Assert.Equal(
            ["endpoint closed", "deregistered", "endpoint closed", "deregistered", "context closed", "provider disposed"],
            journal.Events.TakeLast(6));
    }

    [Fact]
    public async Task An_endpoint_moves_the_memory_of_either_pool_on_a_real_domain()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""
            {
              "Fabric": { "Access": "RemoteWrite", "Provider": { "Provider": "tcp;ofi_rxm", "Node": "127.0.0.1" } },
              "Gradients": { "SizeClasses": [ { "BlockSize": "1 MiB" } ] }
            }
            """);
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("Fabric"));
        builder.Services.AddRmaMemoryPool<LibfabricProvider>("gradients", builder.Configuration.GetSection("Gradients")).ShareProviderOf("default");
        using IHost host = builder.Build();
        await host.StartAsync(Cancelled);

        IRmaEndpoint endpoint = host.Services.GetRequiredService<IRmaEndpoint>();
        IRmaMemoryPool gradients = host.Services.GetRequiredKeyedService<IRmaMemoryPool>("gradients");
        using (RmaBuffer target = host.Services.GetRequiredService<IRmaMemoryPool>().Rent(1 << 20))
        using (RmaBuffer source = gradients.Rent(1 << 20))
        using (RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite))
        {
            source.Span.Fill(0x5A);
            RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
            using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
            await endpoint.WriteAsync(source, remote, TestHost.Patience, Cancelled);
            Assert.Equal(-1, target.Span.IndexOfAnyExcept((byte)0x5A));
        }
        await host.StopAsync(Cancelled);
        Assert.Equal(0, gradients.GetStatistics().RegisteredBytes);
    }

    [Fact]
    public async Task Provider_options_of_a_pool_that_shares_are_refused()
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder("""{ "B": { "Provider": { "Locking": "None" } } }""");
        builder.Services.AddRmaMemoryPool<HostProvider>("a");
        builder.Services.AddRmaMemoryPool<HostProvider>("b", builder.Configuration.GetSection("B")).ShareProviderOf("a");
        using IHost host = builder.Build();
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(Cancelled));
        Assert.Equal("B:Provider has options, but the pool uses the provider of the pool 'a'. Set them there.", Assert.Single(error.Failures));
    }

    [Fact]
    public async Task A_pool_that_is_not_there_is_named() => Assert.Equal(
        "The pool 'b' (options in code) can't start: The pool 'b' shares the provider of 'c', but no pool of that name was added. The pools are 'a', 'b'.",
        await ErrorAsync(services =>
        {
            services.AddRmaMemoryPool<HostProvider>("a");
            services.AddRmaMemoryPool<HostProvider>("b").ShareProviderOf("c");
        }));

    [Fact]
    public async Task Another_type_of_provider_is_refused() => Assert.Equal(
        "The pool 'b' (options in code) can't start: The pool 'b' shares the provider of 'a', whose provider is a LibfabricProvider, while its own is a HostProvider. Add both with the same provider.",
        await ErrorAsync(services =>
        {
            services.AddRmaMemoryPool<HostProvider>("b").ShareProviderOf("a");
            services.AddRmaMemoryPool<LibfabricProvider>("a");
        }));

    [Fact]
    public async Task A_circle_is_refused() => Assert.Equal(
        "The pool 'a' (options in code) can't start: The pool 'a' shares the provider of 'b', which leads back to this pool. One pool of that cycle must have a provider of its own.",
        await ErrorAsync(services =>
        {
            services.AddRmaMemoryPool<HostProvider>("a").ShareProviderOf("b");
            services.AddRmaMemoryPool<HostProvider>("b").ShareProviderOf("a");
        }));

    private static async Task<string> ErrorAsync(Action<IServiceCollection> add)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder();
        add(builder.Services);
        using IHost host = builder.Build();
        return (await Assert.ThrowsAsync<RmaPoolStartException>(() => host.StartAsync(Cancelled))).Message;
    }
}
