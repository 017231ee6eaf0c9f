using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>The histograms of one pool, which can't be computed from counters when they are read.</summary>
internal sealed class PoolInstruments(Histogram<double> registration, Histogram<double> wait, string poolName, string provider, ILogger logger)
{
    private readonly KeyValuePair<string, object?> _pool = RmaTags.Tag(RmaTags.PoolName, poolName);
    private readonly KeyValuePair<string, object?> _provider = RmaTags.Tag(RmaTags.Provider, provider);

    /// <summary>Records the duration of a registration.</summary>
    public void RecordRegistration(TimeSpan time, string? errorType) => Record(registration, time, errorType);

    /// <summary>Records how long a request waited for room.</summary>
    public void RecordWait(TimeSpan time, string? errorType) => Record(wait, time, errorType);

    private void Record(Histogram<double> histogram, TimeSpan time, string? errorType)
    {
        if (!histogram.Enabled)
            return;
        try
        {
            if (errorType is null)
                histogram.Record(time.TotalSeconds, _pool, _provider);
            else
                histogram.Record(time.TotalSeconds, _pool, _provider, RmaTags.Tag(RmaTags.ErrorType, errorType));
        }
        catch (Exception e)
        {
            ListenerFailures.Report(logger, e);
        }
    }
}
