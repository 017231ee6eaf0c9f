using System.Net;
using AllocTools.Connections;
using AllocTools.Frameworks.Tests.Support;
using AllocTools.Libfabric;
using AllocTools.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Frameworks.Tests;

/// <summary>Tests Kestrel over several pools, each with its own connections.</summary>
public sealed class NamedPoolTests
{
    [Fact]
    public async Task EachEndPointIsOverItsPool()
    {
        await using ClientSide client = await ClientSide.StartAsync(
            Fabric.Any,
            services => AddPools(services).AddRmaConnections("front").AddRmaConnections("back").AddHttpClient("front").UseRma("front").Services.AddHttpClient("back").UseRma("back"));
        await using WebSide web = await WebSide.StartAsync(
            Fabric.Any,
            static builder =>
            {
                AddPools(builder.Services);
                builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?> { ["Kestrel:Endpoints:Back:Url"] = "http://127.0.0.3:0" });
                builder.WebHost.UseRma();
                builder.WebHost.UseRma("front", static o => o.Backlog = 7);
                builder.WebHost.UseRma("back", static e => e.Address.Equals(IPAddress.Parse("127.0.0.3")));
                builder.WebHost.ConfigureKestrel(static kestrel =>
                {
                    kestrel.ListenRma(new IPEndPoint(IPAddress.Parse("127.0.0.1"), 0));
                    kestrel.ListenRma(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0), "front");
                    kestrel.Listen(IPAddress.Parse("127.0.0.4"), 0);
                });
            },
            static app => app.MapGet("/", static context => context.Response.WriteAsync(context.Features.Get<IConnectionTransportFeature>() is RmaConnection ? "rma" : "socket")));
        Uri UrlOf(string address) => web.Urls.Single(u => u.Host == address);
        RmaConnections Of(string pool) => web.Services.GetRequiredKeyedService<RmaConnections>(pool);
        var factory = client.Services.GetRequiredService<IHttpClientFactory>();

        Assert.Equal("rma", await factory.CreateClient("front").GetStringAsync(UrlOf("127.0.0.2"), TestContext.Current.CancellationToken));
        Assert.Equal((0, 1, 0), (Of("default").Count, Of("front").Count, Of("back").Count));
        Assert.Equal("rma", await factory.CreateClient("back").GetStringAsync(UrlOf("127.0.0.3"), TestContext.Current.CancellationToken));
        Assert.Equal((0, 1, 1), (Of("default").Count, Of("front").Count, Of("back").Count));
        using var plain = new HttpClient(client.NewHandler());
        Assert.Equal("rma", await plain.GetStringAsync(UrlOf("127.0.0.1"), TestContext.Current.CancellationToken));
        Assert.Equal((1, 1, 1), (Of("default").Count, Of("front").Count, Of("back").Count));
        using var sockets = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        Assert.Equal("socket", await sockets.GetStringAsync(UrlOf("127.0.0.4"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task SeveralPoolsSelectTheirEndPoints()
    {
        var others = new OtherTransport();
        await using WebSide web = await WebSide.StartAsync(
            Fabric.Any,
            builder =>
            {
                AddPools(builder.Services);
                builder.Services.AddSingleton<IConnectionListenerFactory>(others);
                builder.WebHost.UseRma("front", static e => e.Address.Equals(IPAddress.Parse("127.0.0.2")));
                builder.WebHost.UseRma("back", static e => e.Address.Equals(IPAddress.Parse("127.0.0.3")));
                builder.WebHost.ConfigureKestrel(static kestrel =>
                {
                    for (int i = 2; i <= 4; i++)
                        kestrel.Listen(IPAddress.Parse($"127.0.0.{i}"), 0);
                });
            },
            static app => app.MapGet("/", static context => context.Response.WriteAsync(context.Features.Get<IConnectionTransportFeature>() is RmaConnection ? "rma" : "socket")));
        // End points that no pool's function selects go to the same transport as before.
        Assert.Equal(["127.0.0.4"], others.Bound.Select(static e => e.Address.ToString()));
        await using ClientSide client = await ClientSide.StartAsync(Fabric.Any, services => AddPools(services).AddRmaConnections("front").AddRmaConnections("back").AddHttpClient("front").UseRma("front").Services.AddHttpClient("back").UseRma("back"));
        var factory = client.Services.GetRequiredService<IHttpClientFactory>();
        foreach ((string pool, string address) in (IEnumerable<(string, string)>)[("front", "127.0.0.2"), ("back", "127.0.0.3")])
        {
            Assert.Equal("rma", await factory.CreateClient(pool).GetStringAsync(web.Urls.Single(u => u.Host == address), TestContext.Current.CancellationToken));
            Assert.Equal(1, web.Services.GetRequiredKeyedService<RmaConnections>(pool).Count);
        }
        Assert.Single(web.Services.GetServices<IConnectionListenerFactory>(), static f => f is SocketTransportFactory);
    }

    /// <summary>The application's own transport, over sockets.</summary>
    private sealed class OtherTransport : IConnectionListenerFactory
    {
        private readonly SocketTransportFactory _sockets = new(Microsoft.Extensions.Options.Options.Create(new SocketTransportOptions()), Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);

        public List<IPEndPoint> Bound { get; } = [];

        public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
        {
            Bound.Add((IPEndPoint)endpoint);
            return _sockets.BindAsync(endpoint, cancellationToken);
        }
    }

    [Fact]
    public void AnEndPointOfAPoolThatKestrelDoesNotUseFailsTheBuild()
    {
        var error = Assert.Throws<InvalidOperationException>(() => WebSide.Build(Fabric.Any, static builder =>
        {
            AddPools(builder.Services);
            builder.WebHost.UseRma("front");
            builder.WebHost.ConfigureKestrel(static kestrel => kestrel.ListenRma(new IPEndPoint(IPAddress.Loopback, 0), "back"));
        }));
        Assert.Contains("Call builder.WebHost.UseRma(\"back\") first", error.Message, StringComparison.Ordinal);
    }

    private static IServiceCollection AddPools(IServiceCollection services)
    {
        LibfabricOptions options = Fabric.Options(Fabric.Any);
        foreach (string name in (string[])["front", "back"])
        {
            services.AddRmaMemoryPool<LibfabricProvider>(name, static o => (o.MaxRegisteredBytes, o.DrainTimeout) = (64 << 20, TimeSpan.Zero));
            services.Configure<LibfabricOptions>(name, o => (o.Provider, o.Node) = (options.Provider, options.Node));
        }
        return services;
    }
}
