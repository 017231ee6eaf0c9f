using System.Globalization;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints;

/// <summary>A snapshot of an endpoint: counters, which only grow, and what it has to do at the moment of the call.</summary>
public sealed record RmaEndpointStatistics
{
    /// <summary>One entry for each <see cref="RmaOperationKind"/>; empty where an endpoint keeps no statistics.</summary>
    public required IReadOnlyList<RmaOperationStatistics> Operations { get; init; }

    /// <summary>How often a peer was found to be lost (<see cref="RmaPeerLostException"/>).</summary>
    public long LostPeers { get; init; }

    /// <summary>Notifications of peers' writes that found no room (<see cref="RmaNotificationsLostException"/>).</summary>
    public long LostNotifications { get; init; }

    /// <summary>Notifications that wait to be read.</summary>
    public int UnreadNotifications { get; init; }

    /// <summary>Whether its operations can complete.</summary>
    public RmaEndpointState State { get; init; }

    /// <summary>How many operations may be outstanding at once (<c>Provider:Endpoint:MaxOutstanding</c>); 0 where an endpoint does not say.</summary>
    public int Limit { get; init; }

    /// <summary>Operations that were started and have not ended.</summary>
    public int Running { get; init; }

    /// <summary>
    /// Operations that are over for their caller (a time-out, a cancellation), while the transport has not given them up: each
    /// keeps its buffer out of circulation.
    /// </summary>
    public int Abandoned { get; init; }

    /// <summary>Operations that have ended, and whose result nobody has taken: a <see cref="ValueTask"/> that is not awaited keeps its place.</summary>
    public int Unclaimed { get; init; }

    /// <summary>Operations that count against the limit: those that run, that were abandoned, and that nobody has claimed.</summary>
    public int Outstanding => Running + Abandoned + Unclaimed;

    /// <summary>Operations that wait, because as many as may be are outstanding.</summary>
    public int Pending { get; init; }

    /// <summary>
    /// Sends among the running ones that wait because their peer has as many messages which it has not received as
    /// <c>Provider:Endpoint:MaxUnreceivedMessages</c> allows.
    /// </summary>
    public int HeldBackSends { get; init; }

    /// <summary>The statistics in a line, for people: its form may change.</summary>
    public override string ToString() => Operations.Count == 0
        ? "no statistics"
        : string.Create(CultureInfo.InvariantCulture, $"{State}, {Outstanding:N0} of {Limit:N0} operations outstanding ({Abandoned:N0} abandoned, {Unclaimed:N0} unclaimed), {Pending:N0} pending; ")
            + string.Join("; ", Operations.Select(o => string.Create(CultureInfo.InvariantCulture, $"{o.Kind}: {o.Succeeded:N0} done, {o.Bytes:N0} bytes, {o.Failed:N0} failed")));

    /// <summary>The counters of several, added up.</summary>
    internal static RmaEndpointStatistics SumOfCounters(IReadOnlyCollection<RmaEndpointStatistics> endpoints) => new()
    {
        LostPeers = endpoints.Sum(e => e.LostPeers),
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
                   FailuresByError = same.SelectMany(o => o.FailuresByError).GroupBy(f => f.Key).ToDictionary(f => f.Key, f => f.Sum(e => e.Value)),
               },
        ],
    };
}
