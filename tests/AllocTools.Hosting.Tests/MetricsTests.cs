using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using AllocTools.Caching;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Hosting.Tests.Support;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;
using Xunit;

namespace AllocTools.Hosting.Tests;

public sealed class MetricsTests
{
    /// <summary>The instruments whose values go up and down; all others only grow.</summary>
    private static readonly HashSet<string> StatesOfNow =
    [
        "rma.pool.registered", "rma.pool.limit", "rma.pool.buffer.count", "rma.pool.pending_requests", "rma.pool.quarantined", "rma.pool.configuration.valid", "rma.pool.stranded", "rma.cache.entries",
        "rma.endpoint.outstanding", "rma.endpoint.limit", "rma.endpoint.pending_operations", "rma.endpoint.held_back_sends", "rma.endpoint.unread_notifications", "rma.endpoint.count", "rma.endpoint.peers",
        "rma.rail.links",
    ];

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_listener_sees_each_pools_books()
    {
        using IHost host = await StartAsync("m1", "m2");
        IRmaMemoryPool[] pools = [PoolOf(host, "m1"), PoolOf(host, "m2")];
        Use(pools[0], rents: 3, length: 100);
        Use(pools[1], rents: 5, length: 100_000);
        var cache = host.Services.GetRequiredKeyedService<RmaRegistrationCache>("m1");
        byte[] array = new byte[100];
        for (int i = 0; i < 3; i++)
            cache.Register(array).Dispose();

        List<Reading> readings = Reading.All(host.Services);
        Assert.Equal(Expected(pools).Order(), readings.Order());
        Assert.Contains(new Reading("rma.pool.hits {request}", "rma.pool.name=m1 rma.provider=host rma.size_class=4096", 3), readings);
        Assert.Contains(new Reading("rma.pool.misses {request}", "rma.pool.name=m2 rma.provider=host rma.size_class=direct", 1), readings);
        Assert.Contains(new Reading("rma.cache.hits {request}", "rma.pool.name=m1 rma.provider=host", 2), readings);
        Assert.Contains(new Reading("rma.cache.entries {registration}", "rma.pool.name=m1 rma.provider=host rma.state=idle", 1), readings);
        Assert.Contains(new Reading("rma.pool.registrations {registration}", "rma.pool.name=m2 rma.provider=host", 2), readings);

        Use(pools[0], rents: 1, length: 100);
        Assert.Equal(Expected(pools).Order(), Reading.All(host.Services).Order());
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public async Task OpenTelemetry_exports_each_pools_statistics()
    {
        // OpenTelemetry selects by the meter's name, so it sees the other tests' pools as well.
        List<Metric> metrics = [];
        using MeterProvider provider = Sdk.CreateMeterProviderBuilder().AddAllocToolsInstrumentation().AddInMemoryExporter(metrics).Build();
        using IHost host = await StartAsync("otel1", "otel2");
        IRmaMemoryPool[] pools = [PoolOf(host, "otel1"), PoolOf(host, "otel2")];
        Use(pools[0], rents: 7, length: 1);
        Use(pools[1], rents: 2, length: 20_000);

        Assert.True(provider.ForceFlush());
        List<Reading> exported = [];
        foreach (Metric metric in metrics)
        {
            if (metric.MetricType == MetricType.Histogram)
                continue;
            Assert.Equal(StatesOfNow.Contains(metric.Name) ? MetricType.LongSumNonMonotonic : MetricType.LongSum, metric.MetricType);
            foreach (ref readonly MetricPoint point in metric.GetMetricPoints())
            {
                List<KeyValuePair<string, object?>> tags = [];
                foreach (KeyValuePair<string, object?> tag in point.Tags)
                    tags.Add(tag);
                exported.Add(Reading.Of($"{metric.Name} {metric.Unit}", point.GetSumLong(), tags));
            }
        }
        Assert.Equal(Expected(pools).Order(), exported.Where(r => r.Pool is "otel1" or "otel2").Order());
        await host.StopAsync(Cancelled);
    }

    [Fact]
    public void OpenTelemetry_exports_the_activity_source()
    {
        List<Activity> activities = [];
        using TracerProvider provider = Sdk.CreateTracerProviderBuilder().AddAllocToolsInstrumentation().AddInMemoryExporter(activities).Build();
        using var source = new ActivitySource(AllocToolsDiagnostics.ActivitySourceName);
        using var other = new ActivitySource("SomebodyElse");
        source.StartActivity("traced")?.Dispose();
        other.StartActivity("not traced")?.Dispose();

        Assert.True(provider.ForceFlush());
        Assert.Contains(activities, a => a.DisplayName == "traced");
        Assert.DoesNotContain(activities, a => a.DisplayName == "not traced");
    }

    [Fact]
    public async Task A_stopped_pool_disappears()
    {
        using IHost host = await StartAsync("s1", "s2");
        var metrics = host.Services.GetRequiredService<RmaMetrics>();
        metrics.Remove(PoolOf(host, "s1"));
        Assert.Equal(["s2"], Reading.All(host.Services).Select(r => r.Pool).Distinct());
        metrics.Add(PoolOf(host, "s1"));
        metrics.Add(PoolOf(host, "s1"));
        Assert.Equal(Expected([PoolOf(host, "s1"), PoolOf(host, "s2")]).Order(), Reading.All(host.Services).Order());

        await host.StopAsync(Cancelled);
        Assert.Empty(Reading.All(host.Services));
    }

    [Fact]
    public async Task A_pool_that_only_its_container_disposed_disappears()
    {
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var metrics = new RmaMetrics(services.GetRequiredService<IMeterFactory>());
        await using (ServiceProvider own = new ServiceCollection()
            .AddSingleton(metrics)
            .AddRmaMemoryPool<HostProvider>("c1", TestHost.SmallPool).Services
            .BuildServiceProvider())
        {
            own.GetRequiredKeyedService<IRmaMemoryPool>("c1").Rent(1).Dispose();
            Assert.Equal(["c1"], Reading.All(services).Select(r => r.Pool).Distinct());
        }

        Assert.Empty(Reading.All(services));
    }

    [Fact]
    public async Task A_collected_pool_disappears_and_the_instruments_hold_none()
    {
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var metrics = new RmaMetrics(services.GetRequiredService<IMeterFactory>());
        using var kept = new RmaMemoryPool<HostProvider>(new HostProvider().Open(), new RmaMemoryPoolOptions(), "kept");
        metrics.Add(kept);
        WeakReference collected = AddAndForget(metrics, services);

        for (int i = 0; i < 10 && collected.IsAlive; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.False(collected.IsAlive);
        Assert.Equal(Expected([kept]).Order(), Reading.All(services).Order());
    }

    [Fact]
    public async Task What_closed_endpoints_did_stays_counted()
    {
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var metrics = new RmaMetrics(services.GetRequiredService<IMeterFactory>());
        using IRmaContext context = new HostProvider().Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions(), "ends");
        using RmaBuffer buffer = pool.Rent(100);
        IRmaEndpoint stays = context.OpenEndpoint();
        metrics.Add(stays, "ends");
        await SendAsync(stays, count: 2);
        for (int i = 1; i <= 3; i++)
        {
            IRmaEndpoint endpoint = context.OpenEndpoint();
            metrics.Add(endpoint, "ends");
            await SendAsync(endpoint, count: 5);
            Assert.Equal(2 + (5 * i), Sent());
            await endpoint.DisposeAsync();
            metrics.Remove(endpoint);
            metrics.Remove(endpoint);
            Assert.Equal(2 + (5 * i), Sent());
        }
        await SendAsync(stays, count: 1);
        Assert.Equal(18, Sent());
        await stays.DisposeAsync();

        long Sent() => Reading.All(services).Single(r => r is { Instrument: "rma.endpoint.operations {operation}", Tags: "rma.operation=send rma.pool.name=ends rma.provider=host" }).Value;

        async Task SendAsync(IRmaEndpoint endpoint, int count)
        {
            RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
            for (int i = 0; i < count; i++)
            {
                ValueTask<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer.Slice(0, 50), cancellationToken: Cancelled);
                await endpoint.SendAsync(buffer.Slice(50, 50), self, cancellationToken: Cancelled);
                await receiving;
            }
        }
    }

    [Fact]
    public async Task A_second_pool_of_one_name_in_the_process_is_a_warning()
    {
        var firstLog = new LogRecorder();
        var secondLog = new LogRecorder();
        var thirdLog = new LogRecorder();
        using IHost first = await StartAsync(firstLog, "twice");
        using (IHost second = await StartAsync(secondLog, "twice"))
            await second.StopAsync(Cancelled);
        await first.StopAsync(Cancelled);
        using IHost third = await StartAsync(thirdLog, "twice");

        Assert.False(firstLog.Has(LogRecorder.SameNameInProcess));
        (LogLevel level, _, string message) = Assert.Single(secondLog.Entries, e => e.Id == LogRecorder.SameNameInProcess);
        Assert.Equal(LogLevel.Warning, level);
        Assert.Contains("'twice'", message, StringComparison.Ordinal);
        // Both pools were closed by then.
        Assert.False(thirdLog.Has(LogRecorder.SameNameInProcess));
        await third.StopAsync(Cancelled);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference AddAndForget(RmaMetrics metrics, ServiceProvider services)
    {
        var pool = new RmaMemoryPool<RecordingProvider>(new RecordingProvider(new Journal()).Open(), new RmaMemoryPoolOptions(), "collected");
        metrics.Add(pool);
        Assert.Equal(["collected", "kept"], Reading.All(services).Select(r => r.Pool).Distinct().Order());
        return new WeakReference(pool);
    }

    private static Task<IHost> StartAsync(params string[] names) => StartAsync(new LogRecorder(), names);

    private static async Task<IHost> StartAsync(LogRecorder log, params string[] names)
    {
        HostApplicationBuilder builder = TestHost.CreateBuilder(log: log);
        foreach (string name in names)
            builder.Services.AddRmaMemoryPool<HostProvider>(name, TestHost.SmallPool);
        IHost host = builder.Build();
        await host.StartAsync(Cancelled);
        return host;
    }

    private static IRmaMemoryPool PoolOf(IHost host, string name) => host.Services.GetRequiredKeyedService<IRmaMemoryPool>(name);

    private static void Use(IRmaMemoryPool pool, int rents, long length)
    {
        for (int i = 0; i < rents; i++)
            pool.Rent(length).Dispose();
    }

    private static IEnumerable<Reading> Expected(IEnumerable<IRmaMemoryPool> pools) => pools.SelectMany(PoolReadings.Of);
}
