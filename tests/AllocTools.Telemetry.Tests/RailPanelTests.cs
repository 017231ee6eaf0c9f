using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.MultiRail;
using AllocTools.Regions;
using AllocTools.Telemetry.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>
/// Tests the dashboard's panels of multi-rails and their alert with one in this process, which the real Prometheus
/// scrapes.
/// </summary>
public sealed class RailPanelTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_query_of_rails_returns_what_the_multi_rail_says_and_the_alert_fires_while_one_is_down()
    {
        int port = FreePort.Find();
        await using ServiceProvider services = new ServiceCollection().AddMetrics().AddSingleton<RmaMultiRailMetrics>().BuildServiceProvider();
        using MeterProvider exporter = Sdk.CreateMeterProviderBuilder().AddAllocToolsInstrumentation().AddPrometheusHttpListener(l => (l.Host, l.Port) = ("127.0.0.1", port)).Build();
        IRmaContext[] contexts = [Open(), Open()];
        RmaMemoryPool<HostProvider>[] pools = [.. contexts.Select(static c => new RmaMemoryPool<HostProvider>(c, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite }))];
        IRmaEndpoint[] here = [.. contexts.Select(static c => c.OpenEndpoint())];
        IRmaEndpoint[] there = [.. contexts.Select(static c => c.OpenEndpoint())];
        await using var writer = new RmaMultiRail(RailsOf(here), new RmaMultiRailOptions { StripeLength = 4096, LateWriteTime = TimeSpan.Zero }, "writer");
        await using var owner = new RmaMultiRail(RailsOf(there), name: "owner");
        services.GetRequiredService<RmaMultiRailMetrics>().Add(writer);
        using RmaRailMemory source = writer.Rent(1 << 20);
        using RmaRailMemory target = owner.Rent(1 << 20);
        using RmaRailExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        RmaRailPeer peer = writer.InsertPeer(owner.Address.Span);
        using RmaRailRegion region = writer.Import(peer, exposure.ToArray());
        Task WriteAsync() => writer.WriteAsync(source, region, cancellationToken: Token);

        await using Prometheus prometheus = await Prometheus.StartAsync(port);
        await prometheus.UntilAsync("sum(rma_rail_links{rma_state=\"up\"})", static f => f.Single().Value == 2);
        string[] queries = await Dashboard.QueriesAsync("rma_rail_");
        Assert.Equal(4, queries.Length);
        foreach (string query in queries)
        {
            // A rate has a value, if only zero, once a series was scraped twice.
            await prometheus.UntilAsync(query, static found => found.Select(static f => f.Labels["rma_rail_name"]).Distinct().Order(StringComparer.Ordinal).SequenceEqual(["first", "second"]), WriteAsync);
        }
        Assert.Equal(
            MetricTable.Read("multi-rail metrics").Select(static r => r.Prometheus).Order(StringComparer.Ordinal),
            (await prometheus.QueryAsync("{__name__=~\"rma_rail_.*\",otel_scope_name!=\"\"}")).Select(static s => s.Labels["__name__"]).Where(static n => !n.EndsWith("_created", StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal));
        await prometheus.UntilAsync("ALERTS{alertname=\"RmaRailDown\"}", static f => f.Length == 0);

        await there[1].DisposeAsync();
        await WriteAsync();
        await prometheus.UntilAsync("ALERTS{alertname=\"RmaRailDown\",alertstate=\"firing\"}", static f => f is [{ Labels: var l }] && (l["rma_multi_rail_name"], l["rma_rail_name"]) == ("writer", "second"));
        foreach ((RmaRailStatistics rail, int index) in writer.GetStatistics().Select(static (r, i) => (r, i)))
        {
            Assert.Equal((1 - index, index, index), (rail.Up, rail.Down, (int)rail.Failures));
            string tags = $"rma_multi_rail_name=\"writer\",rma_rail_name=\"{rail.Rail}\"";
            foreach ((string series, long expected) in new[]
            {
                ($"rma_rail_links{{{tags},rma_state=\"up\"}}", rail.Up), ($"rma_rail_links{{{tags},rma_state=\"down\"}}", rail.Down),
                ($"rma_rail_changes_total{{{tags},rma_state=\"up\"}}", rail.Recoveries), ($"rma_rail_changes_total{{{tags},rma_state=\"down\"}}", rail.Failures),
                ($"rma_rail_io_bytes_total{{{tags}}}", rail.Bytes), ($"rma_rail_repeated_total{{{tags}}}", rail.RepeatedStripes),
            })
                await prometheus.UntilAsync(series, f => f.Single().Value == expected);
        }
        Assert.True(writer.GetStatistics()[1].RepeatedStripes > 0);
        await writer.RemovePeerAsync(peer);
        await prometheus.UntilAsync("ALERTS{alertname=\"RmaRailDown\"}", static f => f.Length == 0);

        foreach (IRmaEndpoint endpoint in here.Append(there[0]))
            await endpoint.DisposeAsync();
        exposure.Dispose();
        source.Dispose();
        target.Dispose();
        await writer.DisposeAsync();
        await owner.DisposeAsync();
        foreach (RmaMemoryPool<HostProvider> pool in pools)
            await pool.DisposeAsync();
        foreach (IRmaContext context in contexts)
            context.Dispose();

        static IRmaContext Open() => new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();

        RmaRail[] RailsOf(IRmaEndpoint[] endpoints) => [new RmaRail("first", pools[0], endpoints[0]), new RmaRail("second", pools[1], endpoints[1])];
    }
}
