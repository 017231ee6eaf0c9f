using System.Buffers;
using System.Net;
using AllocTools.Connections;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Telemetry.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>
/// Tests the dashboard's panels of connections and of a server's memory with those of this process, which the real
/// Prometheus scrapes.
/// </summary>
public sealed class ConnectionPanelTests
{
    private static readonly byte[] Bytes = new byte[50_000];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_query_of_connections_returns_data()
    {
        int port = FreePort.Find();
        await using ServiceProvider services = new ServiceCollection().AddMetrics().AddSingleton<RmaConnectionMetrics>().BuildServiceProvider();
        using MeterProvider exporter = Sdk.CreateMeterProviderBuilder().AddAllocToolsInstrumentation().AddPrometheusHttpListener(l => (l.Host, l.Port) = ("127.0.0.1", port)).Build();
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
        // The rings are small, so that writes have to wait for them.
        var options = new RmaConnectionOptions { InitialRingBytes = 1024, MaxRingBytes = 1024 };
        await using var connections = new RmaConnections(pool, options);
        services.GetRequiredService<RmaConnectionMetrics>().Add(connections);
        await using RmaConnectionListener listener = connections.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        await using Prometheus prometheus = await Prometheus.StartAsync(port);

        string[] queries = await Dashboard.QueriesAsync("rma_connection_");
        Assert.True(queries.Length >= 9);
        foreach (string query in queries)
            await prometheus.UntilAsync(query, static found => found.Any(static f => double.IsFinite(f.Value)), () => TalkAsync(connections, listener));
        RmaConnectionStatistics now = connections.GetStatistics();
        Assert.True(now is { BytesSent: > 0, CreditStalls: > 0, EndsInOrder: > 0 } && now.EndsByError.ContainsKey("aborted") && now.SetUpFailuresByError.ContainsKey("ConnectionRefused"));
    }

    [Fact]
    public async Task Each_query_of_a_servers_memory_returns_data()
    {
        int port = FreePort.Find();
        using MeterProvider exporter = Sdk.CreateMeterProviderBuilder().AddAllocToolsInstrumentation().AddPrometheusHttpListener(l => (l.Host, l.Port) = ("127.0.0.1", port)).Build();
        WebApplicationBuilder builder = WebApplication.CreateBuilder();
        // There is room for one block.
        builder.Services.AddRmaMemoryPool<HostProvider>(static o =>
        {
            o.MaxRegisteredBytes = 64 << 10;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
        });
        builder.WebHost.UseRmaMemory();
        await using WebApplication app = builder.Build();
        using MemoryPool<byte> memory = app.Services.GetRequiredService<IMemoryPoolFactory<byte>>().Create();
        using IMemoryOwner<byte> first = memory.Rent();
        await using Prometheus prometheus = await Prometheus.StartAsync(port);
        string[] queries = await Dashboard.QueriesAsync("rma_server_memory_");
        Assert.Equal(2, queries.Length);
        foreach (string query in queries)
        {
            await prometheus.UntilAsync(query, static found => found.Any(static f => double.IsFinite(f.Value) && f.Value > 0), () =>
            {
                memory.Rent().Dispose();
                return Task.CompletedTask;
            });
        }
    }

    /// <summary>Opens a connection that ends in order, one that is aborted, and one that fails to be established.</summary>
    private static async Task TalkAsync(RmaConnections connections, RmaConnectionListener listener)
    {
        foreach (bool isAborted in (bool[])[false, true])
        {
            await using RmaConnection left = await connections.ConnectAsync(listener.EndPoint, Token);
            await using var right = (RmaConnection)(await listener.AcceptAsync(Token))!;
            Task writing = Task.Run(async () => await left.Output.WriteAsync(Bytes), Token);
            for (int received = 0; received < Bytes.Length;)
            {
                System.IO.Pipelines.ReadResult read = await right.Input.ReadAsync(Token);
                received += (int)read.Buffer.Length;
                right.Input.AdvanceTo(read.Buffer.End);
            }
            await writing;
            if (isAborted)
                left.Abort();
        }
        await Assert.ThrowsAsync<System.Net.Sockets.SocketException>(() => connections.ConnectAsync(new IPEndPoint(IPAddress.Loopback, 1), Token).AsTask());
    }
}
