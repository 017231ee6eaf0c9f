using System.Diagnostics.Metrics;
using AllocTools.Endpoints;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>The histogram of one endpoint. Its tags are created once, so that recording allocates nothing.</summary>
internal sealed class EndpointInstruments
{
    private readonly Histogram<double> _duration;
    private readonly KeyValuePair<string, object?>[][] _tags;
    private readonly ILogger _logger;

    public EndpointInstruments(Histogram<double> duration, string poolName, string provider, ILogger logger)
    {
        _logger = logger;
        _duration = duration;
        _tags =
        [
            .. EndpointCounters.Kinds.Select(kind => new[]
            {
                RmaTags.Tag(RmaTags.PoolName, poolName),
                RmaTags.Tag(RmaTags.Provider, provider),
                RmaTags.Tag(RmaTags.Operation, EndpointCounters.NameOf(kind)),
            }),
        ];
    }

    /// <summary>Whether there is a listener, so that operations must be timed.</summary>
    public bool IsEnabled => _duration.Enabled;

    /// <summary>Records the duration of an operation, from its start to its completion.</summary>
    public void Record(RmaOperationKind kind, TimeSpan time, string? errorType)
    {
        KeyValuePair<string, object?>[] tags = _tags[(int)kind];
        try
        {
            if (errorType is null)
                _duration.Record(time.TotalSeconds, tags);
            else
                _duration.Record(time.TotalSeconds, [.. tags, RmaTags.Tag(RmaTags.ErrorType, errorType)]);
        }
        catch (Exception e)
        {
            ListenerFailures.Report(_logger, e);
        }
    }
}
