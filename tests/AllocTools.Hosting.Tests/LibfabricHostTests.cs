using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.Libfabric;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>Tests a host with a pool on libfabric itself, which must be installed (libfabric1).</summary>
public sealed class LibfabricHostTests
{
    [Fact]
    public async Task A_host_opens_warms_and_closes_a_pool_on_libfabric()
    {
        CancellationToken cancelled = TestContext.Current.CancellationToken;
        HostApplicationBuilder builder = TestHost.CreateBuilder("""
            {
              "AllocTools": {
                "Access": "RemoteRead, RemoteWrite",
                "SizeClasses": [ { "BlockSize": 4096, "InitialBlocks": 4 } ],
                "Provider": { "Provider": "tcp;ofi_rxm", "Node": "127.0.0.1", "Endpoint": { "OperationTimeout": "00:00:20" } }
              }
            }
            """);
        builder.Services.AddRmaMemoryPool<LibfabricProvider>("fabric", builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();
        await host.StartAsync(cancelled);

        IRmaMemoryPool pool = host.Services.GetRequiredKeyedService<IRmaMemoryPool>("fabric");
        LibfabricEndpoint endpoint = host.Services.GetRequiredKeyedService<LibfabricEndpoint>("fabric");
        Assert.Equal("tcp;ofi_rxm", pool.Context.Traits.ProviderName);
        Assert.Same(endpoint, host.Services.GetRequiredKeyedService<IRmaEndpoint>("fabric"));
        Assert.Same(pool.Context, endpoint.Context);
        Assert.False(endpoint.Address.IsEmpty);
        using (RmaBuffer buffer = pool.Rent(4096))
        using (RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite))
            Assert.Equal(4096, exposure.Remote.Length);

        await host.StopAsync(cancelled).WaitAsync(TestHost.Patience, cancelled);
        Assert.Equal(0, pool.GetStatistics().RegisteredBytes);
        Assert.Throws<ObjectDisposedException>(() => pool.Context.Retain());
    }

    [Fact]
    public async Task Two_named_pools_on_two_libfabric_providers_live_in_one_host()
    {
        CancellationToken cancelled = TestContext.Current.CancellationToken;
        using var log = new LogRecorder();
        HostApplicationBuilder builder = TestHost.CreateBuilder(
            """
            {
              "Pools": {
                "Near": { "Access": "RemoteWrite", "DrainTimeout": "00:00:00.200", "LeakDetection": "All", "Provider": { "Provider": "shm" } },
                "Far": { "Access": "RemoteWrite", "Provider": { "Provider": "tcp;ofi_rxm", "Node": "127.0.0.1" } }
              }
            }
            """,
            log);
        builder.Services.AddRmaMemoryPool<LibfabricProvider>("near", builder.Configuration.GetSection("Pools:Near"));
        builder.Services.AddRmaMemoryPool<LibfabricProvider>("far", builder.Configuration.GetSection("Pools:Far"));
        using IHost host = builder.Build();
        await host.StartAsync(cancelled);

        foreach ((string name, string provider) in new[] { ("near", "shm"), ("far", "tcp;ofi_rxm") })
        {
            IRmaMemoryPool pool = host.Services.GetRequiredKeyedService<IRmaMemoryPool>(name);
            IRmaEndpoint endpoint = host.Services.GetRequiredKeyedService<IRmaEndpoint>(name);
            Assert.Equal(provider, pool.Context.Traits.ProviderName);
            using RmaBuffer source = pool.Rent(100_000);
            using RmaBuffer target = pool.Rent(100_000);
            using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
            source.Span.Fill(0x77);
            using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
            await endpoint.WriteAsync(source, remote, TestHost.Patience, cancelled);
            Assert.Equal(-1, target.Span.IndexOfAnyExcept((byte)0x77));
        }

        // One buffer is leaked: the stop waits for it as long as its pool says, names its owner, and closes the other
        // pool as usual.
        RmaBuffer leaked;
        using (RmaOwner.Begin("gradients"))
            leaked = host.Services.GetRequiredKeyedService<IRmaMemoryPool>("near").Rent(5000);
        IRmaMemoryPool far = host.Services.GetRequiredKeyedService<IRmaMemoryPool>("far");
        await host.StopAsync(cancelled).WaitAsync(TestHost.Patience, cancelled);
        Assert.Equal(["Pool 'near' waits for buffers that are still rented, up to 200 ms: 1, rented by gradients (1)."], log.MessagesOf(LogRecorder.Draining));
        Assert.StartsWith(
            "Pool 'near' was closed while a buffer of 4.9 KiB (5,000 bytes) was rented. It was rented by gradients:\n",
            Assert.Single(log.MessagesOf(LogRecorder.StillOut)),
            StringComparison.Ordinal);
        Assert.Equal(0, far.GetStatistics().RegisteredBytes);
        Assert.Throws<ObjectDisposedException>(leaked.Return);
    }
}
