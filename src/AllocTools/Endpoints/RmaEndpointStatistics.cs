using System.Globalization;

namespace AllocTools;

/// <summary>A snapshot of an endpoint's books. Counters only grow.</summary>
public sealed record RmaEndpointStatistics
{
    /// <summary>One entry for each <see cref="RmaOperationKind"/>; empty where an endpoint keeps no books.</summary>
    public required IReadOnlyList<RmaOperationStatistics> Operations { get; init; }

    /// <summary>The books in a line, for people: its form may change.</summary>
    public override string ToString() => Operations.Count == 0
        ? "no books"
        : string.Join("; ", Operations.Select(o => string.Create(CultureInfo.InvariantCulture, $"{o.Kind}: {o.Succeeded:N0} done, {o.Bytes:N0} bytes, {o.Failed:N0} failed")));

    internal static RmaEndpointStatistics Sum(IEnumerable<RmaEndpointStatistics> endpoints) => new()
    {
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
