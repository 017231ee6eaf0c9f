using System.Diagnostics;
using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Tests that a listener to meters or spans changes nothing, even if it throws, which is reported.</summary>
/// <remarks>These tests run alone: a listener to spans receives those of all tests.</remarks>
[Collection(nameof(ListenerTests))]
[CollectionDefinition(nameof(ListenerTests), DisableParallelization = true)]
public sealed class ListenerTests
{
    private static readonly AsyncLocal<bool> Throws = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AMeterListenerThatThrows()
    {
        using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        IMeterFactory meters = services.GetRequiredService<IMeterFactory>();
        var metrics = new RmaMetrics(meters);
        Meter meter = meters.Create(AllocToolsDiagnostics.MeterName);
        using MeterListener listener = new()
        {
            InstrumentPublished = (instrument, l) =>
            {
                if (instrument.Meter == meter && instrument is Histogram<double>)
                    l.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<double>((_, _, _, _) => throw new InvalidTimeZoneException("a listener's"));
        listener.Start();
        await AssertLivesAsync(metrics);
    }

    [Theory]
    [InlineData("sample")]
    [InlineData("started")]
    [InlineData("stopped")]
    public async Task AnActivityListenerThatThrows(string when)
    {
        void Throw(string now)
        {
            if (Throws.Value && now == when)
                throw new InvalidTimeZoneException("a listener's");
        }

        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name is AllocToolsDiagnostics.ActivitySourceName or AllocToolsDiagnostics.OperationActivitySourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) =>
            {
                Throw("sample");
                return ActivitySamplingResult.AllDataAndRecorded;
            },
            ActivityStarted = _ => Throw("started"),
            ActivityStopped = _ => Throw("stopped"),
        };
        ActivitySource.AddActivityListener(listener);
        Throws.Value = true;
        await AssertLivesAsync(metrics: null);
    }

    [Fact]
    public async Task WhatIsWrongIsThrownAtOnceAndTheCallersSpanStaysItsOwn()
    {
        List<Activity> ended = [];
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == AllocToolsDiagnostics.OperationActivitySourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Add,
        };
        ActivitySource.AddActivityListener(listener);
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer buffer = pair.Left.Pool.Rent(64);
        using Activity callers = new Activity("the caller's").Start();
        Assert.Throws<ArgumentException>(() => { _ = pair.Left.Endpoint.WriteAsync(buffer, default, cancellationToken: Token).AsTask(); });
        Assert.Same(callers, Activity.Current);
        using CancellationTokenSource cancel = new();
        Task<RmaReceiveResult> receiving = pair.Left.Endpoint.ReceiveAsync(buffer, cancellationToken: cancel.Token).AsTask();
        Assert.Same(callers, Activity.Current);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receiving);
        Assert.Same(callers, Activity.Current);
        Assert.Equal(["rma.write", "rma.receive"], ended.Select(a => a.OperationName));
        Assert.All(ended, a => Assert.Equal((callers.SpanId, ActivityStatusCode.Error), (a.ParentSpanId, a.Status)));
    }

    private static async Task AssertLivesAsync(RmaMetrics? metrics)
    {
        using var world = new FakeWorld(FakeMode.Efa);
        CountingAllocator blocks = new();
        var logs = new FakeLogCollector();
        using var logging = new LoggerFactory([new FakeLoggerProvider(logs)]);
        using (IRmaContext context = world.Open(loggerFactory: logging))
        {
            await using var pool = new RmaMemoryPool<LibfabricProvider>(
                context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero }, loggerFactory: logging, blocks: blocks);
            await using IRmaEndpoint endpoint = context.OpenEndpoint();
            metrics?.Add(pool);
            metrics?.Add(endpoint, pool.Name);
            using (RmaBuffer sent = pool.Rent(64))
            using (RmaBuffer received = pool.Rent(64))
            {
                Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
                await endpoint.SendAsync(sent, endpoint.InsertPeer(endpoint.Address.Span), cancellationToken: Token);
                Assert.Equal(64, (await receiving).Length);
            }
            Assert.Equal(world.RegisteredBytes, pool.GetStatistics().RegisteredBytes);
            Assert.Equal(world.RegisteredBytes, blocks.Mapped);
            pool.Rent(100 << 20).Dispose();
            Assert.Equal(world.RegisteredBytes, pool.GetStatistics().RegisteredBytes);
        }
        Assert.Equal(0, blocks.Mapped);
        Assert.Contains(logs.GetSnapshot(), l => l.Id.Id == 18 && l.Exception is InvalidTimeZoneException);
        Assert.DoesNotContain(logs.GetSnapshot(), l => l.Level >= LogLevel.Warning && l.Id.Id != 18);
    }
}
