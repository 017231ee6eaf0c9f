using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;

namespace AllocTools.AotSmoke;

/// <summary>Compares what OpenTelemetry exported with the pools' statistics.</summary>
internal static class ExportedMetrics
{
    public static void Check(IServiceProvider services, IReadOnlyList<Metric> exported)
    {
        Expect.True(services.GetRequiredService<MeterProvider>().ForceFlush(), "OpenTelemetry could not be flushed.");
        foreach (IRmaMemoryPool pool in services.GetRequiredService<SmokePools>().All)
        {
            RmaPoolStatistics statistics = pool.GetStatistics();
            Expect.True(statistics.Hits > 0 || statistics.Misses > 0, $"Nothing was rented from pool '{pool.Name}'.");
            Expect.Equal(statistics.Hits, Sum(exported, "rma.pool.hits", pool), $"rma.pool.hits of pool '{pool.Name}'");
            Expect.Equal(statistics.Misses, Sum(exported, "rma.pool.misses", pool), $"rma.pool.misses of pool '{pool.Name}'");
            Expect.Equal(statistics.Registrations, Sum(exported, "rma.pool.registrations", pool), $"rma.pool.registrations of pool '{pool.Name}'");
        }
    }

    private static long Sum(IReadOnlyList<Metric> exported, string name, IRmaMemoryPool pool)
    {
        Metric? metric = exported.FirstOrDefault(m => m.Name == name);
        Expect.True(metric is not null, $"{name} was not exported.");
        long sum = 0;
        foreach (ref readonly MetricPoint point in metric!.GetMetricPoints())
        {
            if (TagOf(point, "rma.pool.name") != pool.Name)
                continue;
            Expect.Equal(pool.Context.Traits.ProviderName, TagOf(point, "rma.provider"), $"The provider of {name}");
            sum += point.GetSumLong();
        }
        return sum;
    }

    private static string? TagOf(in MetricPoint point, string key)
    {
        foreach (KeyValuePair<string, object?> tag in point.Tags)
        {
            if (tag.Key == key)
                return (string?)tag.Value;
        }
        return null;
    }
}
