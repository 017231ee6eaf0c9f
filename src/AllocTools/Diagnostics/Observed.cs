using System.Diagnostics.Metrics;

namespace AllocTools.Diagnostics;

/// <summary>The statistics of a pool, or of its endpoints, at one moment.</summary>
/// <param name="Now">The statistics.</param>
/// <param name="PoolName">The pool's name.</param>
/// <param name="Provider">The transport.</param>
internal sealed record Observed<TStatistics>(TStatistics Now, string PoolName, string Provider)
{
    /// <summary>Returns a value with the common tags, and some more.</summary>
    public Measurement<long> Measure(long value, params ReadOnlySpan<KeyValuePair<string, object?>> more) =>
        new(value, [RmaTags.Tag(RmaTags.PoolName, PoolName), RmaTags.Tag(RmaTags.Provider, Provider), .. more]);
}
