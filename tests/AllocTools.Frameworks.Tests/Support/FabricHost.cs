using AllocTools.Connections;
using AllocTools.Libfabric;
using AllocTools.Testing;
using AllocTools.Ucx;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace AllocTools.Frameworks.Tests.Support;

/// <summary>The common part of the tests' sides: a pool on a fabric, configured as in an application.</summary>
internal static class FabricHost
{
    /// <summary>UCX's TCP, on this machine only.</summary>
    public const string Ucx = "UCX";

    /// <summary>The prefix of UCX's TCP on a card, whose name follows.</summary>
    private const string UcxOn = "ucx:tcp@";

    /// <summary>Gets the fabrics on which two contexts of one process can meet.</summary>
    public static TheoryData<string> Fabrics => new(Fabric.All.Where(f => f is Fabric.Tcp or Fabric.SharedMemoryByAddress || Fabric.IsVerbs(f)).ToArray());

    public static void AddPool(this IHostApplicationBuilder builder, string fabric)
    {
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["AllocTools:MaxRegisteredBytes"] = "256 MiB",
            ["AllocTools:DrainTimeout"] = "0 s",
        });
        if (fabric == Ucx || fabric.StartsWith(UcxOn, StringComparison.Ordinal))
        {
            string device = fabric == Ucx ? "lo" : fabric[UcxOn.Length..];
            builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?> { ["AllocTools:Provider:Transports"] = "tcp", ["AllocTools:Provider:Devices"] = device });
            builder.Services.AddRmaMemoryPool<UcxProvider>(builder.Configuration.GetSection("AllocTools"));
            return;
        }
        LibfabricOptions options = Fabric.Options(fabric);
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["AllocTools:Provider:Provider"] = options.Provider,
            ["AllocTools:Provider:Node"] = options.Node,
        });
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools"));
    }

    /// <summary>Waits until nothing of any connection is left.</summary>
    public static async Task BecomesCleanAsync(this IServiceProvider services)
    {
        var connections = services.GetRequiredService<RmaConnections>();
        var pool = services.GetRequiredService<IRmaMemoryPool>();
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        while (true)
        {
            RmaPoolStatistics now = pool.GetStatistics();
            if (connections.Count == 0 && now is { RentedBuffers: 0, QuarantinedBuffers: 0 })
                return;
            Assert.False(limit.IsCancellationRequested, $"{connections.Count} connections, {now.RentedBuffers} buffers rented, {now.QuarantinedBuffers} in quarantine.");
            await Task.Delay(20, CancellationToken.None);
        }
    }
}
