using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>The histograms of one pool: what can't be summed when somebody looks.</summary>
internal sealed class PoolInstruments(Histogram<double> registration, Histogram<double> wait, string poolName, string provider, ILogger logger)
{
    private readonly KeyValuePair<string, object?> _pool = RmaTags.Tag(RmaTags.PoolName, poolName);
    private readonly KeyValuePair<string, object?> _provider = RmaTags.Tag(RmaTags.Provider, provider);

    /// <summary>A registration took so long.</summary>
    public void RecordRegistration(TimeSpan time, string? errorType) => Record(registration, time, errorType);

    /// <summary>A request waited for room for so long.</summary>
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
