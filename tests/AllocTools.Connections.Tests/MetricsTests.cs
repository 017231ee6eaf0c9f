using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Net;
using System.Text.RegularExpressions;
using AllocTools.Connections.Tests.Support;
using AllocTools.Diagnostics;
using AllocTools.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Connections.Tests;

/// <summary>Tests what connections publish, as documented in docs/telemetry.md.</summary>
public sealed partial class MetricsTests
{
    [Fact]
    public async Task TheInstrumentsShowWhatConnectionsDo()
    {
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var factory = services.GetRequiredService<IMeterFactory>();
        var metrics = new RmaConnectionMetrics(factory);
        Dictionary<string, double> seen = [];
        Dictionary<string, (string Kind, string Unit)> instruments = [];
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Scope != factory)
                    return;
                instruments[instrument.Name] = (instrument switch { ObservableUpDownCounter<long> => "up-down counter", Histogram<double> => "histogram", _ => "counter" }, instrument.Unit!);
                listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.Start();
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, o => o.InitialRingBytes = 1024);
        metrics.Add(pair.LeftSide.Connections);
        (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
        Task writing = Task.Run(async () => await left.Output.WriteAsync(new byte[100_000]), TestContext.Current.CancellationToken);
        await right.Input.ReadBytesAsync(100_000);
        await writing;
        await right.Output.WriteAsync(new byte[30], TestContext.Current.CancellationToken);
        await left.Input.ReadBytesAsync(30);
        listener.RecordObservableInstruments();
        Assert.Equal((2, 100_000, 30), (seen["rma.connection.active"], seen["rma.connection.io sent"], seen["rma.connection.io received"]));
        Assert.True(seen["rma.connection.credit_stalls"] > 0 && seen["rma.connection.credit_stall.time"] > 0);
        Assert.True(seen["rma.connection.setup.duration"] > 0);
        left.Abort();
        await left.DisposeAsync();
        await right.DisposeAsync();
        await pair.EndCleanlyAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => pair.LeftSide.Connections.ConnectAsync(new IPEndPoint(IPAddress.None, 1), TestContext.Current.CancellationToken).AsTask());
        listener.RecordObservableInstruments();
        Assert.Equal((0, 100_000, 30, 1, 1), (seen["rma.connection.active"], seen["rma.connection.io sent"], seen["rma.connection.io received"], seen["rma.connection.ends"], seen["rma.connection.ends aborted"]));
        Assert.Single(pair.LeftSide.Connections.GetStatistics().SetUpFailuresByError);

        string table = File.ReadAllText(Path.Combine(Repository.Root, "docs", "telemetry.md")).Split("<!-- connection metrics -->")[1].Split("<!-- /connection metrics -->")[0];
        Assert.Equal(
            Row().Matches(table).Select(m => (m.Groups[1].Value, m.Groups[2].Value, m.Groups[3].Value)).Order(),
            instruments.Select(i => (i.Key, i.Value.Kind, i.Value.Unit)).Order());

        void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            Assert.Equal(["rma.pool.name", "rma.provider"], tags[..2].ToArray().Select(static t => t.Key));
            lock (seen)
                seen[string.Join(' ', [instrument.Name, .. tags[2..].ToArray().Select(static t => t.Value)])] = value;
        }
    }

    [Fact]
    public async Task EachSetUpHasASpan()
    {
        var spans = new System.Collections.Concurrent.ConcurrentQueue<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name == AllocToolsDiagnostics.ActivitySourceName,
            Sample = static (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = spans.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        // The listener receives the activities of the whole process.
        using Activity test = new Activity("test").Start();
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host);
        Activity[] own = [.. spans.Where(s => s.TraceId == test.TraceId)];
        Assert.Single(own, static s => s is { OperationName: "rma.connect", Kind: ActivityKind.Client });
        Assert.Single(own, static s => s is { OperationName: "rma.accept", Kind: ActivityKind.Server });
        await pair.EndCleanlyAsync();
    }

    [GeneratedRegex(@"^\| `([^`]+)` \| ([^|]+) \| `([^`]+)`", RegexOptions.Multiline)]
    private static partial Regex Row();
}
