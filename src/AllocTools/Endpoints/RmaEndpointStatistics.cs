using System.Collections.ObjectModel;
using System.Globalization;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints;

/// <summary>A snapshot of an endpoint's statistics: counters, which only grow, and the state at the time of the call.</summary>
public sealed record RmaEndpointStatistics
{
    /// <summary>One entry for each <see cref="RmaOperationKind"/>; empty if an endpoint keeps no statistics.</summary>
    public required IReadOnlyList<RmaOperationStatistics> Operations { get; init; }

    /// <summary>
    /// How often a peer has entered each state: lost, slow, or up again after one of these. The insertion of a new peer does
    /// not count. Empty if an endpoint keeps no statistics.
    /// </summary>
    public IReadOnlyDictionary<RmaPeerState, long> PeerChanges { get; init; } = ReadOnlyDictionary<RmaPeerState, long>.Empty;

    /// <summary>The current number of peers in each state. Empty if an endpoint keeps no statistics.</summary>
    public IReadOnlyDictionary<RmaPeerState, int> Peers { get; init; } = ReadOnlyDictionary<RmaPeerState, int>.Empty;

    /// <summary>The number of notifications of peers' writes that were dropped (<see cref="RmaNotificationsLostException"/>).</summary>
    public long LostNotifications { get; init; }

    /// <summary>The number of notifications that wait to be read.</summary>
    public int UnreadNotifications { get; init; }

    /// <summary>Whether the endpoint's operations can complete.</summary>
    public RmaEndpointState State { get; init; }

    /// <summary>
    /// How many operations may be outstanding at once (<c>Provider:Endpoint:MaxOutstanding</c>); 0 if an endpoint does
    /// not report it.
    /// </summary>
    public int Limit { get; init; }

    /// <summary>The number of operations that were started and have not ended.</summary>
    public int Running { get; init; }

    /// <summary>
    /// The number of operations that have ended for their caller (by a time-out or cancellation), but not for the transport.
    /// Each keeps its buffer quarantined.
    /// </summary>
    public int Abandoned { get; init; }

    /// <summary>The number of operations that have ended, but whose result was not taken: a <see cref="ValueTask"/> that is never awaited keeps its place.</summary>
    public int Unclaimed { get; init; }

    /// <summary>The number of operations that count against the limit: running, abandoned and unclaimed ones.</summary>
    public int Outstanding => Running + Abandoned + Unclaimed;

    /// <summary>The number of operations that wait because the limit of outstanding operations is reached.</summary>
    public int Pending { get; init; }

    /// <summary>
    /// The number of running sends that wait because their peer has not yet received <c>Provider:Endpoint:MaxUnreceivedMessages</c> earlier messages.
    /// </summary>
    public int HeldBackSends { get; init; }

    /// <summary>Returns the statistics in one line, for people to read; the format may change.</summary>
    public override string ToString() => Operations.Count == 0
        ? "no statistics"
        : string.Create(CultureInfo.InvariantCulture, $"{State}, {Outstanding:N0} of {Limit:N0} operations outstanding ({Abandoned:N0} abandoned, {Unclaimed:N0} unclaimed), {Pending:N0} pending; ")
            + string.Join("; ", Operations.Select(o => string.Create(CultureInfo.InvariantCulture, $"{o.Kind}: {o.Succeeded:N0} done, {o.Bytes:N0} bytes, {o.Failed:N0} failed")));

    /// <summary>Adds up the counters of several endpoints.</summary>
    internal static RmaEndpointStatistics SumOfCounters(IReadOnlyCollection<RmaEndpointStatistics> endpoints) => new()
    {
        PeerChanges = endpoints.SelectMany(e => e.PeerChanges).GroupBy(c => c.Key).ToDictionary(c => c.Key, c => c.Sum(s => s.Value)),
        LostNotifications = endpoints.Sum(e => e.LostNotifications),
        Operations =
        [
            .. from operation in endpoints.SelectMany(e => e.Operations)
               group operation by operation.Kind into same
               select new RmaOperationStatistics
               {
                   Kind = same.Key,
                   Succeeded = same.Sum(o => o.Succeeded),
                   Bytes = same.Sum(o => o.Bytes),
                   Retries = same.Sum(o => o.Retries),
                   FailuresByError = same.SelectMany(o => o.FailuresByError).GroupBy(f => f.Key).ToDictionary(f => f.Key, f => f.Sum(e => e.Value)),
               },
        ],
    };
}
