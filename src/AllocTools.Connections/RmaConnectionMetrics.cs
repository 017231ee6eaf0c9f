using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;

namespace AllocTools.Connections;

/// <summary>
/// Publishes the statistics of connections as metrics of the meter <see cref="AllocToolsDiagnostics.MeterName"/>;
/// docs/telemetry.md lists them. <c>AddRmaConnections</c> creates one.
/// </summary>
/// <remarks>
/// The metrics cost nothing when data is transferred: all but the histogram are read only when they are
/// collected. Connections are held weakly. All members are safe to call from any thread.
/// </remarks>
public sealed class RmaConnectionMetrics
{
    private const string Direction = "rma.direction";

    private readonly LiveObjects<RmaConnections> _live = new();
    private readonly Histogram<double> _setUp;

    /// <summary>Creates the instruments, which have no values until connections are added.</summary>
    /// <param name="meterFactory">Creates the meter, and owns it.</param>
    public RmaConnectionMetrics(IMeterFactory meterFactory)
    {
        ArgumentNullException.ThrowIfNull(meterFactory);
        Meter meter = meterFactory.Create(AllocToolsDiagnostics.MeterName);
        meter.CreateObservableUpDownCounter("rma.connection.active", () => All(static c => c.Active), "{connection}", "Connections over registered memory that are open.");
        meter.CreateObservableUpDownCounter("rma.connection.ending", () => All(static c => c.Ending), "{connection}", "Ended connections whose peer may still write to their memory.");
        meter.CreateObservableCounter("rma.connection.io", IO, "By", "Bytes that connections have sent and received.");
        meter.CreateObservableCounter("rma.connection.credit_stalls", () => All(static c => c.CreditStalls), "{stall}", "How often a write of a connection had to wait for room in the peer's memory.");
        meter.CreateObservableCounter("rma.connection.credit_stall.time", StallTimes, "s", "For how long writes of connections have waited for room in the peer's memory.");
        meter.CreateObservableCounter("rma.connection.ends", Ends, "{connection}", "Connections that have ended, by error where they failed.");
        _setUp = meter.CreateHistogram("rma.connection.setup.duration", "s", "How long it took to set up a connection, from the TCP connection on.", advice: RmaBuckets.Registration);
    }

    /// <summary>Publishes connections until they are removed or collected. Adding them again has no effect.</summary>
    /// <param name="connections">The connections.</param>
    public void Add(RmaConnections connections)
    {
        ArgumentNullException.ThrowIfNull(connections);
        _live.Add(connections, connections.Pool.Name);
        KeyValuePair<string, object?>[] tags = [RmaTags.Tag(RmaTags.PoolName, connections.Pool.Name), RmaTags.Tag(RmaTags.Provider, connections.Provider)];
        connections.Totals.OnSetUp = (time, error) =>
        {
            if (!_setUp.Enabled)
                return;
            try
            {
                _setUp.Record(time.TotalSeconds, error is null ? tags : [.. tags, RmaTags.Tag(RmaTags.ErrorType, error)]);
            }
            catch (Exception e)
            {
                ListenerFailures.Report(connections.Logger, e);
            }
        };
    }

    /// <summary>Stops publishing connections.</summary>
    /// <param name="connections">The connections.</param>
    public void Remove(RmaConnections connections)
    {
        ArgumentNullException.ThrowIfNull(connections);
        if (_live.TryRemove(connections, out _))
            connections.Totals.OnSetUp = null;
    }

    private List<Measurement<long>> All(Func<RmaConnectionStatistics, long> value) => [.. from one in Live() select one.Measure(value(one.Now))];

    private List<Measurement<long>> IO() =>
    [
        .. from one in Live()
           from direction in new[] { (Name: "sent", Bytes: one.Now.BytesSent), (Name: "received", Bytes: one.Now.BytesReceived) }
           select one.Measure(direction.Bytes, RmaTags.Tag(Direction, direction.Name)),
    ];

    private List<Measurement<double>> StallTimes() =>
        [.. from one in Live() select new Measurement<double>(one.Now.CreditStallTime.TotalSeconds, RmaTags.Tag(RmaTags.PoolName, one.PoolName), RmaTags.Tag(RmaTags.Provider, one.Provider))];

    private List<Measurement<long>> Ends()
    {
        List<Measurement<long>> all = All(static c => c.EndsInOrder);
        all.AddRange(from one in Live()
                     from error in one.Now.EndsByError
                     select one.Measure(error.Value, RmaTags.Tag(RmaTags.ErrorType, error.Key)));
        return all;
    }

    private IEnumerable<Observed<RmaConnectionStatistics>> Live() =>
        from one in _live.All()
        select new Observed<RmaConnectionStatistics>(one.Object.GetStatistics(), one.PoolName, one.Object.Provider);
}
