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
    /// How often a peer has come into each state: lost, slow, or up again after one of these. The insertion of a new
    /// peer does not count. Empty if an endpoint keeps no statistics.
    /// </summary>
    public IReadOnlyDictionary<RmaPeerState, long> PeerChanges { get; init; } = ReadOnlyDictionary<RmaPeerState, long>.Empty;

    /// <summary>How many peers are in each state at present. Empty if an endpoint keeps no statistics.</summary>
    public IReadOnlyDictionary<RmaPeerState, int> Peers { get; init; } = ReadOnlyDictionary<RmaPeerState, int>.Empty;

    /// <summary>Notifications of peers' writes that were dropped (<see cref="RmaNotificationsLostException"/>).</summary>
    public long LostNotifications { get; init; }

    /// <summary>Notifications that wait to be read.</summary>
    public int UnreadNotifications { get; init; }

    /// <summary>Whether its operations can complete.</summary>
    public RmaEndpointState State { get; init; }

    /// <summary>
    /// How many operations may be outstanding at once (<c>Provider:Endpoint:MaxOutstanding</c>); 0 if an endpoint does
    /// not report it.
    /// </summary>
    public int Limit { get; init; }

    /// <summary>Operations that were started and have not ended.</summary>
    public int Running { get; init; }

    /// <summary>
    /// Operations that have ended for their caller (by a time-out or cancellation), but not for the transport: each
    /// keeps its buffer quarantined.
    /// </summary>
    public int Abandoned { get; init; }

    /// <summary>Operations that have ended, but whose result was not taken: a <see cref="ValueTask"/> that is never awaited keeps its place.</summary>
    public int Unclaimed { get; init; }

    /// <summary>Operations that count against the limit: running, abandoned and unclaimed ones.</summary>
    public int Outstanding => Running + Abandoned + Unclaimed;

    /// <summary>Operations that wait, because the limit of outstanding operations is reached.</summary>
    public int Pending { get; init; }

    /// <summary>
    /// Running sends that wait because their peer has not received <c>Provider:Endpoint:MaxUnreceivedMessages</c> earlier messages yet.
    /// </summary>
    public int HeldBackSends { get; init; }

    /// <summary>The statistics in one line, for people; the format may change.</summary>
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
