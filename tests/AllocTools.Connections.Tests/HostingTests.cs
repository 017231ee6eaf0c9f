using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using AllocTools.Connections.Hosting;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Tests;

/// <summary>Tests connections in a host.</summary>
public sealed class HostingTests
{
    [Fact]
    public async Task AHostGivesListenersAndConnectionsAndClosesThemBeforeItsPool()
    {
        using IHost host = Build(new Dictionary<string, string?> { ["AllocTools:Connections:InitialRingBytes"] = "4 KiB", ["AllocTools:DrainTimeout"] = "20 s" });
        await host.StartAsync(TestContext.Current.CancellationToken);
        var pool = host.Services.GetRequiredService<IRmaMemoryPool>();
        var factory = host.Services.GetRequiredService<RmaConnectionListenerFactory>();
        Assert.True(factory.CanBind(new RmaEndPoint(IPAddress.Loopback, 0)));
        Assert.False(factory.CanBind(new IPEndPoint(IPAddress.Loopback, 0)));
        // Kestrel would not add sockets if it found a transport.
        Assert.Empty(host.Services.GetServices<IConnectionListenerFactory>());
        IConnectionListener listener = await factory.BindAsync(new RmaEndPoint(IPAddress.Loopback, 0), TestContext.Current.CancellationToken);
        // The host connects to itself: one endpoint is both sides.
        ValueTask<ConnectionContext> connecting = host.Services.GetRequiredService<RmaConnectionFactory>().ConnectAsync(listener.EndPoint, TestContext.Current.CancellationToken);
        ConnectionContext there = (await listener.AcceptAsync(TestContext.Current.CancellationToken))!;
        ConnectionContext here = await connecting;
        await here.Transport.Output.WriteAsync("hello"u8.ToArray(), TestContext.Current.CancellationToken);
        Assert.Equal("hello"u8.ToArray(), await there.Transport.Input.ReadBytesAsync(5));
        Assert.Equal(4096, host.Services.GetRequiredService<IOptionsMonitor<RmaConnectionOptions>>().Get(RmaMemoryPoolName.Default).InitialRingBytes);
        Assert.Equal(2, host.Services.GetRequiredService<RmaConnections>().Count);
        // Users dispose the connections once they learn of the end; the pool's drain waits for that.
        Task users = Task.WhenAll(UseAsync(here), UseAsync(there));
        await host.StopAsync(TestContext.Current.CancellationToken);
        Assert.Equal((0, 0), pool.GetStatistics() is var now ? (now.RentedBuffers, now.QuarantinedBuffers) : default);
        await users;

        static async Task UseAsync(ConnectionContext connection)
        {
            await using (connection)
            {
                Exception error = await Assert.ThrowsAnyAsync<Exception>(() => connection.Transport.Input.ReadBytesAsync(1));
                // A reset is reported if the other side was the first to abort.
                Assert.True(error is ConnectionAbortedException or ConnectionResetException, error.ToString());
            }
        }
    }

    [Fact]
    public async Task WhatIsReadStaysWhereItIsUntilItsUserHasDisposedTheConnection()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, static o => (o.CloseTimeout, o.MaxRingBytes) = (TimeSpan.FromMilliseconds(10), o.InitialRingBytes));
        byte[] sent = Enumerable.Range(1, 1000).Select(static i => (byte)i).ToArray();
        await pair.Left.Output.WriteAsync(sent, TestContext.Current.CancellationToken);
        ReadResult read = await pair.Right.Input.ReadAtLeastAsync(1000, TestContext.Current.CancellationToken);
        await pair.RightSide.Connections.DisposeAsync();
        Assert.NotEqual(0, pair.RightSide.Pool.GetStatistics() is var now ? now.RentedBuffers + now.QuarantinedBuffers : 0);
        // Other renters of the pool must not overwrite it.
        List<RmaBuffer> others = [];
        while (others.Count < 1000 && pair.RightSide.Pool.TryRent(16 << 10, out RmaBuffer other))
        {
            other.Span.Fill(0xEE);
            others.Add(other);
        }
        Assert.Equal(sent, read.Buffer.ToArray());
        others.ForEach(static b => b.Dispose());
        await pair.Right.DisposeAsync();
        await pair.RightSide.BecomesCleanAsync();
    }

    [Fact]
    public void EveryOptionIsBound()
    {
        using IHost host = Build(new Dictionary<string, string?>
        {
            ["AllocTools:Connections:InitialRingBytes"] = "2 KiB",
            ["AllocTools:Connections:MaxRingBytes"] = "3 MiB",
            ["AllocTools:Connections:IdleShrinkAfter"] = "never",
            ["AllocTools:Connections:PauseWriterBytes"] = "5000",
            ["AllocTools:Connections:Continuations"] = "inline",
            ["AllocTools:Connections:SetUpTimeout"] = "7 s",
            ["AllocTools:Connections:HeartbeatInterval"] = "8 s",
            ["AllocTools:Connections:PeerTimeout"] = "9 s",
            ["AllocTools:Connections:CloseTimeout"] = "10 s",
            ["AllocTools:Connections:Backlog"] = "11",
            ["AllocTools:Connections:MaxConnections"] = "12",
            ["AllocTools:Connections:LocalPool"] = "near",
            ["AllocTools:Connections:CopyInput"] = "true",
            ["AllocTools:Connections:Integrity"] = "XxHash3",
            ["AllocTools:Connections:LocalFallback"] = "true",
        }, "near");
        RmaConnectionOptions bound = host.Services.GetRequiredService<IOptionsMonitor<RmaConnectionOptions>>().Get(RmaMemoryPoolName.Default);
        Assert.Equal(
            (2048L, 3L << 20, Timeout.InfiniteTimeSpan, 5000L, RmaContinuations.Inline, 7, 8, 9, 10, 11),
            (bound.InitialRingBytes, bound.MaxRingBytes, bound.IdleShrinkAfter, bound.PauseWriterBytes, bound.Continuations, bound.SetUpTimeout.Seconds, bound.HeartbeatInterval.Seconds, bound.PeerTimeout.Seconds, bound.CloseTimeout.Seconds, bound.Backlog));
        Assert.Equal(("near", true, true, 12, RmaIntegrity.XxHash3), (bound.LocalPool, bound.CopyInput, bound.LocalFallback, bound.MaxConnections, bound.Integrity));
        Assert.Equal(15, ConnectionOptionKeys.All.Count);
    }

    [Fact]
    public async Task TheirEndpointHasTheOptionsOfThePoolsProvider()
    {
        using IHost host = Build(new Dictionary<string, string?>
        {
            ["AllocTools:Provider:Endpoint:MaxOutstanding"] = "7",
            ["AllocTools:Provider:Endpoint:OperationTimeout"] = "3 s",
        });
        await host.StartAsync(TestContext.Current.CancellationToken);
        var endpoint = (RmaEndpoint)host.Services.GetRequiredService<RmaConnections>().Endpoint;
        Assert.Equal((7, TimeSpan.FromSeconds(3)), (endpoint.MaxOutstanding, endpoint.OperationTimeout));
        await host.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task WrongOptionsFailTheStartByTheirPath()
    {
        using IHost host = Build(new Dictionary<string, string?>
        {
            ["AllocTools:Connections:InitialRingBytes"] = "100",
            ["AllocTools:Connections:PeerTimout"] = "3 s",
            ["AllocTools:Connections:HeartbeatInterval"] = "1 m",
            ["AllocTools:MaxRegisteredBytes"] = "-1",
        });
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(TestContext.Current.CancellationToken));
        Assert.Contains("AllocTools:Connections:InitialRingBytes is 100; it must be between 1,024 and", error.Message, StringComparison.Ordinal);
        Assert.Contains("Unknown option AllocTools:Connections:PeerTimout. Did you mean PeerTimeout?", error.Message, StringComparison.Ordinal);
        Assert.Contains("AllocTools:Connections:PeerTimeout (20 seconds) must be longer than HeartbeatInterval", error.Message, StringComparison.Ordinal);
        // The error is reported together with the pool's.
        Assert.Contains("AllocTools:MaxRegisteredBytes is -1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ThePoolComesFirst() =>
        Assert.Contains("AddRmaMemoryPool", Assert.Throws<InvalidOperationException>(() => new ServiceCollection().AddRmaConnections()).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("far", "LocalPool is 'far', but no connections were added over a pool of that name: AddRmaConnections(\"far\").")]
    [InlineData(RmaMemoryPoolName.Default, "which is the pool itself")]
    public async Task ALocalPoolMustHaveConnections(string name, string says)
    {
        using IHost host = Build(new Dictionary<string, string?> { ["AllocTools:Connections:LocalPool"] = name }, "near");
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(TestContext.Current.CancellationToken));
        Assert.Contains("AllocTools:Connections:LocalPool", error.Message, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ALocalPoolHasNoneItself()
    {
        using IHost host = Build(new Dictionary<string, string?> { ["AllocTools:Connections:LocalPool"] = "near", ["Second:Connections:LocalPool"] = RmaMemoryPoolName.Default }, "near");
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(TestContext.Current.CancellationToken));
        Assert.Contains("AllocTools:Connections:LocalPool is 'near', whose own connections have the LocalPool 'default'", error.Message, StringComparison.Ordinal);
        Assert.Contains("Second:Connections:LocalPool is 'default', whose own connections have the LocalPool 'near'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AContainerMayBeDisposedWithoutAwaiting()
    {
        var services = new ServiceCollection();
        services.AddLogging().AddRmaMemoryPool<HostProvider>(new ConfigurationBuilder().Build().GetSection("AllocTools"));
        services.AddRmaConnections();
        RmaConnections connections;
        using (ServiceProvider container = services.BuildServiceProvider())
            connections = container.GetRequiredService<RmaConnections>();
        // A second disposal completes together with the first one.
        await connections.DisposeAsync();
        Assert.Equal(RmaEndpointState.Closed, connections.Endpoint.GetStatistics().State);
    }

    [Fact]
    public async Task TheHealthCheckSaysHowConnectionsAre()
    {
        using IHost host = Build([], configure: static services => services.AddHealthChecks().AddRmaConnections(configure: static o => o.MaxEnding = 1));
        await host.StartAsync(TestContext.Current.CancellationToken);
        var health = host.Services.GetRequiredService<HealthCheckService>();
        HealthReportEntry entry = await CheckAsync();
        Assert.Equal((HealthStatus.Healthy, "Connections over pool 'default': 0 connections are open."), (entry.Status, entry.Description));
        Assert.Equal(("host", "Open", 0), (entry.Data["provider"], entry.Data["endpoint"], entry.Data["active"]));
        // A peer hangs and holds memory of a connection that is over.
        var connections = host.Services.GetRequiredService<RmaConnections>();
        await using RmaConnectionListener listener = connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await peer.SetUpAsync();
        ConnectionContext connection = (await accepting)!;
        Assert.Equal("Connections over pool 'default': 1 connection is open.", (await CheckAsync()).Description);
        connection.Abort();
        await connection.DisposeAsync();
        entry = await CheckAsync();
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Contains("1 ended connection keeps its memory", entry.Description, StringComparison.Ordinal);
        await connections.DisposeAsync();
        Assert.Equal((HealthStatus.Unhealthy, "Connections over pool 'default': they are closed."), await CheckAsync() is var closed ? (closed.Status, closed.Description) : default);
        Assert.Throws<ArgumentOutOfRangeException>(() => new ServiceCollection().AddHealthChecks().AddRmaConnections(configure: static o => o.MaxEnding = 0));

        async Task<HealthReportEntry> CheckAsync() => Assert.Single((await health.CheckHealthAsync(TestContext.Current.CancellationToken)).Entries, static e => e.Key == "rma_connections_default").Value;
    }

    [Fact]
    public async Task KestrelListensOverANamedPool()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaMemoryPool<HostProvider>("other", builder.Configuration.GetSection("Other"));
        builder.Services.AddRmaConnections("other");
        builder.WebHost.UseRma().ConfigureKestrel(static k => k.ListenRma(new IPEndPoint(IPAddress.Loopback, 0), "other"));
        await using WebApplication app = builder.Build();
        app.MapGet("/", static () => "hello");
        await app.StartAsync(TestContext.Current.CancellationToken);
        int port = new Uri(app.Urls.Single()).Port;
        var other = app.Services.GetRequiredKeyedService<RmaConnections>("other");
        using (var http = new HttpClient(new SocketsHttpHandler().UseRma(other)))
            Assert.Equal("hello", await http.GetStringAsync(new Uri($"http://127.0.0.1:{port}/"), TestContext.Current.CancellationToken));
        Assert.True(other.GetStatistics().BytesReceived > 0);
        Assert.Equal(0, app.Services.GetRequiredService<RmaConnections>().GetStatistics().BytesReceived);
        await app.StopAsync(TestContext.Current.CancellationToken);
    }

    private static IHost Build(Dictionary<string, string?> settings, string? second = null, Action<IServiceCollection>? configure = null)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(settings);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaConnections();
        if (second is not null)
        {
            builder.Services.AddRmaMemoryPool<HostProvider>(second, builder.Configuration.GetSection("Second"));
            builder.Services.AddRmaConnections(second);
        }
        configure?.Invoke(builder.Services);
        return builder.Build();
    }
}
