using System.Text.Json.Nodes;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Telemetry.Tests.Support;

/// <summary>The dashboard of the project.</summary>
internal static class Dashboard
{
    public static async Task<JsonNode> ReadAsync() =>
        JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(Repository.Root, "dashboards", "alloctools.json"), TestContext.Current.CancellationToken))!;

    /// <summary>Returns the queries that use certain metrics, for all pools and processes.</summary>
    public static async Task<string[]> QueriesAsync(string metrics)
    {
        string[] queries =
        [
            .. (await ReadAsync())["panels"]!.AsArray().Where(static p => (string?)p!["type"] != "row").SelectMany(static p => p!["targets"]!.AsArray()).Select(static t => (string)t!["expr"]!)
                .Where(q => q.Contains(metrics, StringComparison.Ordinal))
                .Select(static q => q.Replace("$__rate_interval", "5s", StringComparison.Ordinal).Replace("$pool", ".+", StringComparison.Ordinal).Replace("$job", ".+", StringComparison.Ordinal).Replace("$instance", ".+", StringComparison.Ordinal)),
        ];
        Assert.All(queries, static q => Assert.DoesNotContain("$", q, StringComparison.Ordinal));
        return queries;
    }
}
