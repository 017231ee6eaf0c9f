using System.Diagnostics.Tracing;
using System.Globalization;
using AllocTools.Diagnostics;
using Microsoft.Diagnostics.NETCore.Client;
using Microsoft.Diagnostics.Tracing;
using Xunit;

namespace AllocTools.Telemetry.Tests.Support;

/// <summary>
/// Observes a process like dotnet-counters: the event source <c>System.Diagnostics.Metrics</c>, over its diagnostics
/// port.
/// </summary>
internal static class EventPipe
{
    private const string Source = "System.Diagnostics.Metrics";
    private const long TimeSeriesValues = 2;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Returns each series' value at the end of the first whole interval, by "instrument tags"; a histogram's value is
    /// its count.
    /// </summary>
    public static async Task<Dictionary<string, double>> ReadAsync(int processId)
    {
        string session = Guid.NewGuid().ToString();
        var provider = new EventPipeProvider(Source, EventLevel.Informational, TimeSeriesValues, new Dictionary<string, string>
        {
            ["SessionId"] = session,
            ["Metrics"] = AllocToolsDiagnostics.MeterName,
            ["RefreshInterval"] = "1",
            ["MaxTimeSeries"] = "1000",
            ["MaxHistograms"] = "100",
        });
        Dictionary<string, double> values = [];
        string error = "";
        int intervals = 0;
        using EventPipeSession pipe = await new DiagnosticsClient(processId).StartEventPipeSessionAsync(provider, requestRundown: false, 64, TestContext.Current.CancellationToken);
        using var source = new EventPipeEventSource(pipe.EventStream);
        source.Dynamic.All += e =>
        {
            if (e.ProviderName != Source || intervals > 1 || (e.PayloadNames.Contains("sessionId") && (string)e.PayloadByName("sessionId") != session))
                return;
            switch (e.EventName)
            {
                case "CounterRateValuePublished" or "UpDownCounterRateValuePublished":
                    values[NameOf(e)] = double.Parse((string)e.PayloadByName("value"), CultureInfo.InvariantCulture);
                    break;
                case "HistogramValuePublished":
                    values[NameOf(e)] = (int)e.PayloadByName("count");
                    break;
                case "Collection/Stop" when ++intervals > 1:
                    // Don't wait here: the session's own thread would wait for itself.
                    _ = pipe.StopAsync(TestContext.Current.CancellationToken);
                    break;
                case "Error" or "TimeSeriesLimitReached" or "HistogramLimitReached" or "ObservableInstrumentCallbackError":
                    error = e.ToString();
                    break;
            }
        };
        await Task.Run(source.Process).WaitAsync(Patience);
        Assert.Equal("", error);
        return values;
    }

    private static string NameOf(TraceEvent e) => $"{e.PayloadByName("instrumentName")} {e.PayloadByName("tags")}";
}
