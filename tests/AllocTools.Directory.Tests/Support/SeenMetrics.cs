using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Directory.Tests.Support;

/// <summary>The values of the instruments of one process's directory.</summary>
internal sealed class SeenMetrics : IDisposable
{
    private readonly MeterListener _listener = new();
    private IMeterFactory? _factory;
    private long _publications;

    /// <summary>Gets the measured operations, with their errors.</summary>
    public ConcurrentBag<string> Operations { get; } = [];

    /// <summary>Gets or sets whether it throws at each measured operation.</summary>
    public bool Throws { get; set; }

    /// <summary>Listens to the meters of a host.</summary>
    public void Of(IServiceProvider services)
    {
        _factory = services.GetRequiredService<IMeterFactory>();
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (ReferenceEquals(instrument.Meter.Scope, _factory) && instrument.Name.StartsWith("rma.directory.", StringComparison.Ordinal))
                listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((_, value, _, _) => _publications = value);
        _listener.SetMeasurementEventCallback<double>((_, _, tags, _) =>
        {
            Operations.Add(string.Join(' ', tags.ToArray().Select(static t => t.Value)));
            if (Throws)
                throw new InvalidOperationException("A listener of the test's.");
        });
        _listener.Start();
    }

    public long Publications()
    {
        _listener.RecordObservableInstruments();
        return _publications;
    }

    public void Dispose() => _listener.Dispose();
}
