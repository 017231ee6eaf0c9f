using System.Text.RegularExpressions;
using AllocTools.Testing;

namespace AllocTools.Telemetry.Tests.Support;

/// <summary>The tables of metrics in docs/telemetry.md.</summary>
internal static partial class MetricTable
{
    /// <param name="name">The name of the table.</param>
    public static Row[] Read(string name = "metrics")
    {
        string text = File.ReadAllText(Path.Combine(Repository.Root, "docs", "telemetry.md"));
        string table = text.Split($"<!-- {name} -->")[1].Split($"<!-- /{name} -->")[0];
        return
        [
            .. table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(2).Select(line => line.Split('|', StringSplitOptions.TrimEntries)).Select(cells => new Row(
                Code().Match(cells[1]).Groups[1].Value,
                cells[2],
                Code().Match(cells[3]).Groups[1].Value,
                string.Join(' ', Code().Matches(cells[4]).Select(m => m.Groups[1].Value).Order(StringComparer.Ordinal)),
                Code().Match(cells[5]).Groups[1].Value)),
        ];
    }

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();

    /// <summary>One metric.</summary>
    /// <param name="Instrument">Its name.</param>
    /// <param name="Kind">Counter, up-down counter or histogram.</param>
    /// <param name="Unit">Its unit.</param>
    /// <param name="Tags">The tags that not every metric has, in the order of their names.</param>
    /// <param name="Prometheus">Its name in Prometheus.</param>
    internal sealed record Row(string Instrument, string Kind, string Unit, string Tags, string Prometheus);
}
