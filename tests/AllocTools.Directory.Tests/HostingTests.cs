using System.Net;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Connections.Hosting;
using AllocTools.Connections.Redis;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.Hosting;
using AllocTools.HostMemory;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Directory.Tests;

/// <summary>Tests directories in a host, and their configuration.</summary>
public sealed class HostingTests
{
    [Fact]
    public void EveryOptionIsBound()
    {
        using IHost host = Build(
            new Dictionary<string, string?>
            {
                ["AllocTools:Directory:Peers"] = "https://peers/here",
                ["AllocTools:Directory:Lease"] = "17 s",
                ["AllocTools:Directory:RequestTimeout"] = "6 s",
                ["AllocTools:Directory:WatchInterval"] = "5 s",
                ["AllocTools:Directory:MaxEntryBytes"] = "4 KiB",
                ["AllocTools:Directory:MaxEntriesPerName"] = "3",
                ["AllocTools:Directory:MaxEntries"] = "2",
                ["AllocTools:Directory:MaxBytes"] = "1 MiB",
                ["AllocTools:Directory:Redis:Configuration"] = "redis:1",
                ["AllocTools:Directory:Redis:KeyPrefix"] = "p",
            },
            static d => d.UseRedis());
        RmaDirectoryOptions bound = host.Services.GetRequiredService<IOptions<RmaDirectoryOptions>>().Value;
        Assert.Equal(
            ("https://peers/here", 17, 6, 5, 4096L, 3, 2),
            (bound.Peers, bound.Lease.Seconds, bound.RequestTimeout.Seconds, bound.WatchInterval.Seconds, bound.MaxEntryBytes, bound.MaxEntriesPerName, bound.MaxEntries));
        Assert.Equal(1 << 20, bound.MaxBytes);
        RmaRedisDirectoryOptions redis = host.Services.GetRequiredService<IOptions<RmaRedisDirectoryOptions>>().Value;
        Assert.Equal(("redis:1", "p"), (redis.Configuration, redis.KeyPrefix));
        Assert.Equal(typeof(RmaDirectoryOptions).GetProperties().Select(static p => p.Name).Order(), DirectoryOptionKeys.All.Select(static k => k.Name).Order());
        Assert.Equal(typeof(RmaRedisDirectoryOptions).GetProperties().Select(static p => p.Name).Order(), RedisDirectoryOptionKeys.All.Select(static k => k.Name).Order());
    }

    [Fact]
    public async Task WrongOptionsFailTheStartByTheirPath()
    {
        using IHost host = Build(
            new Dictionary<string, string?>
            {
                ["AllocTools:Directory:Peers"] = "directory:5000",
                ["AllocTools:Directory:Lease"] = "2 s",
                ["AllocTools:Directory:RequestTimeout"] = "1 s",
                ["AllocTools:Directory:MaxEntryBytes"] = "1",
                ["AllocTools:Directory:WatchIntervall"] = "1 s",
                ["AllocTools:Directory:Redis:Configuration"] = "redis,secret=hidden",
                ["AllocTools:Directory:Redis:KeyPrefix"] = "a{b}",
                ["AllocTools:Directory:Redis:Host"] = "x",
            },
            static d => d.UseRedis());
        Exception error = await Assert.ThrowsAnyAsync<Exception>(() => host.StartAsync(TestContext.Current.CancellationToken));
        string all = string.Join('\n', (error as AggregateException)?.InnerExceptions.Select(static e => e.Message) ?? [error.Message]);
        foreach (string expected in new[]
        {
            "AllocTools:Directory:Peers is 'directory:5000'; it must be an http or https URL",
            "AllocTools:Directory:RequestTimeout (1 second) must be shorter than half of Lease (2 seconds).",
            "AllocTools:Directory:MaxEntryBytes is 1; it must be between 256 and",
            "Unknown option AllocTools:Directory:WatchIntervall. Did you mean WatchInterval?",
            "AllocTools:Directory:Redis:Configuration is not valid: 'secret' is an unknown option, or has an invalid value",
            "AllocTools:Directory:Redis:KeyPrefix is 'a{b}'",
            "Unknown option AllocTools:Directory:Redis:Host.",
        })
        {
            Assert.Contains(expected, all, StringComparison.Ordinal);
        }
        Assert.DoesNotContain("hidden", all, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, "AllocTools:Directory:Peers is not set")]
    [InlineData(true, "AllocTools:Directory:Redis:Configuration is not set, and the application has no IConnectionMultiplexer")]
    public async Task ADirectoryThatIsNowhereFailsTheStart(bool isRedis, string expected)
    {
        using IHost host = Build(new() { ["AllocTools:Directory:MaxEntries"] = "0" }, d => _ = isRedis ? d.UseRedis() : d);
        var error = await Assert.ThrowsAsync<RmaOptionsValidationException>(() => host.StartAsync(TestContext.Current.CancellationToken));
        Assert.Contains(error.Failures, f => f.StartsWith(expected, StringComparison.Ordinal));
        Assert.Contains(error.Failures, static f => f.StartsWith("AllocTools:Directory:MaxEntries is 0", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ARedisThatIsNotThereIsSaidAtTheStart()
    {
        var log = new LogRecorder();
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.AddProvider(log);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaDirectory(static o => o.RequestTimeout = TimeSpan.FromMilliseconds(500)).UseRedis(static o => o.Configuration = "127.0.0.1:1");
        using IHost host = builder.Build();
        await host.StartAsync(TestContext.Current.CancellationToken);
        Assert.StartsWith("The directory can't be reached at startup: Redis ", await log.SingleAsync(129), StringComparison.Ordinal);
        await host.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public void SeveralPartsOfAnApplicationMayAddIt()
    {
        var services = new ServiceCollection();
        services.AddRmaDirectory(static o => o.Peers = "http://a").UseRedis(static o => o.KeyPrefix = "x");
        services.AddRmaDirectory(static o => o.Lease = TimeSpan.FromSeconds(9)).UseRedis(static o => o.Configuration = "redis");
        using ServiceProvider provider = services.AddLogging().AddMetrics().BuildServiceProvider();
        RmaDirectoryOptions options = provider.GetRequiredService<IOptions<RmaDirectoryOptions>>().Value;
        Assert.Equal(("http://a", 9), (options.Peers, options.Lease.Seconds));
        Assert.Single(provider.GetServices<IRmaDirectory>());
        Assert.Single(provider.GetServices<IHostedService>(), static s => s.GetType().Name == "DirectoryService");
    }

    [Fact]
    public async Task ADirectoryThatWasAddedBeforeItsPoolFailsTheStart()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddRmaDirectory(static o => o.Peers = "http://a");
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        using IHost host = builder.Build();
        var error = await Assert.ThrowsAnyAsync<Exception>(() => host.StartAsync(TestContext.Current.CancellationToken));
        Assert.Contains("Call AddRmaDirectory after AddRmaMemoryPool", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task EachHostOfOneCollectionClosesItsOwnConnections()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaConnections();
        await using ServiceProvider used = builder.Services.BuildServiceProvider();
        await using ServiceProvider other = builder.Services.BuildServiceProvider();
        bool IsOpen(IServiceProvider services) => services.GetRequiredKeyedService<ConnectionsService.State>("default").IsOpen;
        used.GetRequiredService<RmaConnections>();
        Assert.True(IsOpen(used));
        Assert.False(IsOpen(other));
    }

    [Fact]
    public void MappingNeedsTheDirectory()
    {
        WebApplication app = WebApplication.CreateSlimBuilder().Build();
        Assert.Contains("AddRmaDirectory", Assert.Throws<InvalidOperationException>(() => app.MapRmaDirectory()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnEntryThatIsWrongIsRefusedWithTheReason()
    {
        var process = Guid.NewGuid();
        var right = new DnsEndPoint("server", 1);
        var memory = new RemoteMemory(0, 1, 1, RmaAccess.RemoteRead);
        Refuses("name", "128", () => new RmaDirectoryEntry("", process, right));
        Refuses("name", "other than a dot", () => new RmaDirectoryEntry("..", process, right));
        Refuses("name", "U+0020", () => new RmaDirectoryEntry("a b", process, right));
        Refuses("process", "RmaConnections.Process", () => new RmaDirectoryEntry("a", Guid.Empty, right));
        Refuses("endPoint", "port", () => new RmaDirectoryEntry("a", process, new DnsEndPoint("server", 0)));
        Refuses("endPoint", "port", () => new RmaDirectoryEntry("a", process, new IPEndPoint(IPAddress.Loopback, 0)));
        Refuses("endPoint", "0.0.0.0", () => new RmaDirectoryEntry("a", process, new IPEndPoint(IPAddress.Any, 1)));
        Refuses("endPoint", "::", () => new RmaDirectoryEntry("a", process, new IPEndPoint(IPAddress.IPv6Any, 1)));
        Refuses("endPoint", "DNS name", () => new RmaDirectoryEntry("a", process, new DnsEndPoint("192.0.2.1", 1)));
        Refuses("endPoint", "DNS name", () => new RmaDirectoryEntry("a", process, new DnsEndPoint(string.Join('.', Enumerable.Repeat("abcdefgh", 32)), 1)));
        Refuses("endPoint", "UnixDomainSocketEndPoint", () => new RmaDirectoryEntry("a", process, new System.Net.Sockets.UnixDomainSocketEndPoint("/x")));
        Refuses("exposures", "an exposure", () => new RmaDirectoryEntry("a", process, right, new Dictionary<string, RemoteMemory> { ["a/b"] = memory }));
        Refuses("exposures", "64", () => new RmaDirectoryEntry("a", process, right, Enumerable.Range(0, 65).ToDictionary(static i => $"m{i}", _ => memory)));

        static void Refuses(string parameter, string reason, Func<object> make)
        {
            var error = Assert.Throws<ArgumentException>(make);
            Assert.Equal(parameter, error.ParamName);
            Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        }
    }

    private static IHost Build(Dictionary<string, string?> settings, Action<IRmaDirectoryBuilder> configure)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(settings);
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        configure(builder.Services.AddRmaDirectory());
        return builder.Build();
    }
}
