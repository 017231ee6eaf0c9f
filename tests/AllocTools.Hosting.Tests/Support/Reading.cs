using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>One value of an instrument.</summary>
/// <param name="Instrument">Its name and unit.</param>
/// <param name="Tags">Its tags, in the order of their names.</param>
/// <param name="Value">The value.</param>
internal sealed record Reading(string Instrument, string Tags, long Value) : IComparable<Reading>
{
    private const string PoolTag = "rma.pool.name=";

    /// <summary>Gets the name of its pool.</summary>
    public string Pool => Tags.Split(' ').Single(t => t.StartsWith(PoolTag, StringComparison.Ordinal))[PoolTag.Length..];

    public static Reading Of(string instrument, long value, IEnumerable<KeyValuePair<string, object?>> tags) =>
        new(instrument, string.Join(' ', tags.Select(t => $"{t.Key}={t.Value}").Order(StringComparer.Ordinal)), value);

    /// <summary>Reads all instruments of this container's meter once.</summary>
    public static List<Reading> All(IServiceProvider services)
    {
        var factory = services.GetRequiredService<IMeterFactory>();
        List<Reading> readings = [];
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == AllocToolsDiagnostics.MeterName && instrument.Meter.Scope == factory)
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
            readings.Add(Of($"{instrument.Name} {instrument.Unit}", value, tags.ToArray())));
        listener.Start();
        listener.RecordObservableInstruments();
        return readings;
    }

    public int CompareTo(Reading? other) => string.CompareOrdinal(ToString(), other?.ToString());
}
