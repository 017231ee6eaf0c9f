using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections.Directories;

/// <summary>The instruments of directories, of the meter <see cref="AllocToolsDiagnostics.MeterName"/>; docs/telemetry.md lists them.</summary>
internal sealed class DirectoryMetrics
{
    private readonly Histogram<double> _duration;

    public DirectoryMetrics(IMeterFactory meterFactory)
    {
        Meter meter = meterFactory.Create(AllocToolsDiagnostics.MeterName);
        meter.CreateObservableUpDownCounter("rma.directory.publications", () => Publications?.Invoke() ?? 0L, "{publication}", "Entries that this process has published in a directory.");
        _duration = meter.CreateHistogram("rma.directory.operation.duration", "s", "How long a request to a directory took.", advice: RmaBuckets.Registration);
    }

    /// <summary>The number of published entries.</summary>
    public Func<long>? Publications { get; set; }

    /// <summary>Runs a request and records its duration. An exception of a listener does not affect the result.</summary>
    public async Task<T> MeasureAsync<T>(string operation, TimeProvider time, ILogger logger, Func<Task<T>> run)
    {
        long start = time.GetTimestamp();
        string? error = "cancelled";
        try
        {
            T result = await run().ConfigureAwait(false);
            error = null;
            return result;
        }
        catch (RmaDirectoryException e)
        {
            error = e.ErrorType;
            throw;
        }
        finally
        {
            Record(operation, time.GetElapsedTime(start), error, logger);
        }
    }

    private void Record(string operation, TimeSpan elapsed, string? error, ILogger logger)
    {
        if (!_duration.Enabled)
            return;
        try
        {
            KeyValuePair<string, object?> tag = RmaTags.Tag(RmaTags.Operation, operation);
            _duration.Record(elapsed.TotalSeconds, error is null ? [tag] : [tag, RmaTags.Tag(RmaTags.ErrorType, error)]);
        }
        catch (Exception e)
        {
            // All exceptions are caught, because they come from the listener.
            ListenerFailures.Report(logger, e);
        }
    }
}
