using System.Diagnostics.Metrics;

namespace AllocTools.Diagnostics;

/// <summary>The bucket boundaries of the histograms, in seconds.</summary>
internal static class RmaBuckets
{
    /// <summary>10 µs to 30 s, from the registration of a page to one of hundreds of GiB.</summary>
    public static InstrumentAdvice<double> Registration { get; } = new()
    {
        HistogramBucketBoundaries = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    };

    /// <summary>1 µs to 30 s, because a write between neighbours takes less than the 10 µs of the shortest registrations.</summary>
    public static InstrumentAdvice<double> Operation { get; } = new()
    {
        HistogramBucketBoundaries = [1e-6, 2.5e-6, 5e-6, .. Registration.HistogramBucketBoundaries!],
    };
}
