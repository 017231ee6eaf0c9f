using AllocTools.Hosting.Tests.Support;
using AllocTools.Libfabric;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace AllocTools.Hosting.Tests;

/// <summary>A host with a pool on libfabric itself, which must be installed (libfabric1).</summary>
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
}
