using System.Diagnostics;
using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>Tests that a slow registration on a dashboard leads to the trace of the request that caused it.</summary>
public sealed class ExemplarTests
{
    private const string Caller = "AllocTools.Telemetry.Tests.Exemplars";

    [Fact]
    public async Task A_registration_in_a_trace_is_an_exemplar_of_its_histogram()
    {
        List<Metric> exported = [];
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        using TracerProvider tracing = Sdk.CreateTracerProviderBuilder().AddSource(Caller).AddAllocToolsInstrumentation().Build();
        using MeterProvider metering = Sdk.CreateMeterProviderBuilder()
            .AddAllocToolsInstrumentation().SetExemplarFilter(ExemplarFilterType.TraceBased).AddInMemoryExporter(exported).Build();
        using IRmaContext context = new HostProvider().Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions(), "exemplars");
        new RmaMetrics(services.GetRequiredService<IMeterFactory>()).Add(pool);
        using var callers = new ActivitySource(Caller);
        ActivityTraceId trace;
        using (Activity request = callers.StartActivity("request")!)
        {
            trace = request.TraceId;
            pool.Rent(100).Dispose();
        }

        Assert.True(metering.ForceFlush());
        List<ActivityTraceId> traces = [];
        foreach (MetricPoint point in Points(exported.Single(m => m.Name == "rma.pool.registration.duration")))
        {
            if (!point.TryGetExemplars(out ReadOnlyExemplarCollection exemplars))
                continue;
            foreach (ref readonly Exemplar exemplar in exemplars)
                traces.Add(exemplar.TraceId);
        }
        Assert.Contains(trace, traces);
    }

    private static List<MetricPoint> Points(Metric metric)
    {
        List<MetricPoint> points = [];
        foreach (ref readonly MetricPoint point in metric.GetMetricPoints())
            points.Add(point);
        return points;
    }
}
