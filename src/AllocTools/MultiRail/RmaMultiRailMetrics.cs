using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;

namespace AllocTools.MultiRail;

/// <summary>
/// Publishes the statistics of multi-rails as metrics of the meter <see cref="AllocToolsDiagnostics.MeterName"/>;
/// docs/telemetry.md lists them. <c>AddRmaMultiRail</c> creates an instance.
/// </summary>
/// <remarks>Instruments are computed only when they are observed. Multi-rails are held weakly. All members are safe to call from any thread.</remarks>
public sealed class RmaMultiRailMetrics
{
    private const string Rail = "rma.rail.name";
    private const string MultiRail = "rma.multi_rail.name";

    private readonly LiveObjects<RmaMultiRail> _live = new();

    /// <summary>Creates the instruments. They report nothing until a multi-rail is added.</summary>
    /// <param name="meterFactory">Creates the meter, and owns it.</param>
    public RmaMultiRailMetrics(IMeterFactory meterFactory)
    {
        ArgumentNullException.ThrowIfNull(meterFactory);
        Meter meter = meterFactory.Create(AllocToolsDiagnostics.MeterName);
        meter.CreateObservableUpDownCounter("rma.rail.links", () => States(static s => s.Up, static s => s.Down), "{link}", "Rails to peers by state: up or down.");
        meter.CreateObservableCounter("rma.rail.changes", () => States(static s => s.Recoveries, static s => s.Failures), "{change}", "How often a rail to a peer went down, or came up again.");
        meter.CreateObservableCounter("rma.rail.io", () => All(static s => s.Bytes), "By", "Bytes of stripes that rails have moved.");
        meter.CreateObservableCounter("rma.rail.repeated", () => All(static s => s.RepeatedStripes), "{stripe}", "Stripes that failed on a rail and were tried again.");
    }

    /// <summary>Reports a multi-rail until it is removed or collected. Adding it again changes nothing.</summary>
    /// <param name="rails">The multi-rail.</param>
    public void Add(RmaMultiRail rails)
    {
        ArgumentNullException.ThrowIfNull(rails);
        _live.Add(rails, rails.Name);
    }

    /// <summary>Stops reporting a multi-rail.</summary>
    /// <param name="rails">The multi-rail.</param>
    public void Remove(RmaMultiRail rails)
    {
        ArgumentNullException.ThrowIfNull(rails);
        _live.TryRemove(rails, out _);
    }

    private List<Measurement<long>> States(Func<RmaRailStatistics, long> up, Func<RmaRailStatistics, long> down) =>
    [
        .. from live in _live.All()
           from rail in live.Object.GetStatistics()
           from state in new[] { (Name: "up", Value: up(rail)), (Name: "down", Value: down(rail)) }
           select new Measurement<long>(state.Value, RmaTags.Tag(MultiRail, live.PoolName), RmaTags.Tag(Rail, rail.Rail), RmaTags.Tag(RmaTags.State, state.Name)),
    ];

    private List<Measurement<long>> All(Func<RmaRailStatistics, long> value) =>
    [
        .. from live in _live.All()
           from rail in live.Object.GetStatistics()
           select new Measurement<long>(value(rail), RmaTags.Tag(MultiRail, live.PoolName), RmaTags.Tag(Rail, rail.Rail)),
    ];
}
