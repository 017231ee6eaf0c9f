using System.Diagnostics.Metrics;
using AllocTools.Caching;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Telemetry.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>Tests that docs/telemetry.md lists the actual instruments, with every tag that they can have.</summary>
public sealed class MetricTableTests
{
    private static readonly string[] CommonTags = ["rma.pool.name", "rma.provider"];

    [Fact]
    public async Task The_table_lists_each_instrument_with_its_kind_unit_and_tags()
    {
        Dictionary<Instrument, SortedSet<string>> seen = [];
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var factory = services.GetRequiredService<IMeterFactory>();
        var metrics = new RmaMetrics(factory);
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Scope != factory)
                    return;
                seen[instrument] = new(StringComparer.Ordinal);
                listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, _, tags, _) => Note(instrument, tags));
        listener.SetMeasurementEventCallback<double>((instrument, _, tags, _) => Note(instrument, tags));
        listener.Start();
        await UseAllAsync(metrics, listener.RecordObservableInstruments);

        Assert.Equal(
            MetricTable.Read().Select(row => row with { Prometheus = "" }).OrderBy(r => r.Instrument, StringComparer.Ordinal),
            seen.Select(s => new MetricTable.Row(s.Key.Name, KindOf(s.Key), s.Key.Unit!, string.Join(' ', s.Value), "")).OrderBy(r => r.Instrument, StringComparer.Ordinal));

        void Note(Instrument instrument, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            lock (seen)
            {
                Assert.Equal(CommonTags, tags[..2].ToArray().Select(t => t.Key));
                seen[instrument].UnionWith(tags[2..].ToArray().Select(t => t.Key));
            }
        }
    }

    [Fact]
    public async Task The_histograms_have_boundaries_from_microseconds_to_half_a_minute()
    {
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var factory = services.GetRequiredService<IMeterFactory>();
        Dictionary<string, IReadOnlyList<double>> found = [];
        _ = new RmaMetrics(factory);
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, _) =>
            {
                if (instrument.Meter.Scope == factory && instrument is Histogram<double> histogram)
                    found[instrument.Name] = histogram.Advice!.HistogramBucketBoundaries!;
            },
        };
        listener.Start();
        Assert.Equal(
            [("rma.endpoint.operation.duration", 1e-6, 30d), ("rma.pool.registration.duration", 1e-5, 30d), ("rma.pool.wait_time", 1e-5, 30d)],
            found.OrderBy(f => f.Key, StringComparer.Ordinal).Select(f => (f.Key, f.Value[0], f.Value[^1])));
        Assert.All(found.Values, boundaries => Assert.Equal(boundaries.Distinct().Order(), boundaries));
    }

    /// <summary>
    /// Does everything that can be measured once, with success and with failure, and looks at it before it is closed.
    /// </summary>
    private static async Task UseAllAsync(RmaMetrics metrics, Action look)
    {
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.Required }).Open();
        using var pool = new RmaMemoryPool<HostProvider>(
            context,
            new RmaMemoryPoolOptions { MaxRegisteredBytes = 64 << 10, SizeClasses = { new() { BlockSize = 64 << 10 } } },
            "all");
        await using IRmaEndpoint endpoint = context.OpenEndpoint();
        using var cache = new RmaRegistrationCache(pool);
        cache.Register(new byte[10]).Dispose();
        metrics.Add(pool);
        metrics.Add(endpoint, "all");
        using MissingPages pages = new();
        Assert.Throws<RmaRegistrationException>(() => pool.Register(pages.Address, MissingPages.Length));
        using RmaBuffer buffer = pool.Rent(64 << 10);
        using var cancel = new CancellationTokenSource();
        Task<RmaBuffer> waiting = pool.RentAsync(64 << 10, cancel.Token).AsTask();
        // A wait is measured once it is in line.
        Assert.Equal(1, pool.GetStatistics().PendingRequests);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await Assert.ThrowsAsync<RmaTimeoutException>(() => endpoint.ReceiveAsync(buffer.Slice(0, 8), TimeSpan.FromMilliseconds(1)).AsTask());
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        ValueTask<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer.Slice(0, 8));
        await endpoint.SendAsync(buffer.Slice(8, 8), self);
        Assert.Equal(8, (await receiving).Length);
        look();
    }

    private static string KindOf(Instrument instrument) => instrument switch
    {
        ObservableCounter<long> => "counter",
        ObservableUpDownCounter<long> => "up-down counter",
        Histogram<double> => "histogram",
        _ => instrument.GetType().Name,
    };
}
