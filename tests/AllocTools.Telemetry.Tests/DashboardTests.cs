using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using AllocTools.Telemetry.Tests.Support;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>Tests what operators get in addition to the metrics: a dashboard, alerts, and a runbook for each.</summary>
public sealed partial class DashboardTests
{
    private const int Width = 24;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_dashboard_begins_with_single_figures_and_groups_the_rest()
    {
        JsonNode[] panels = [.. (await Dashboard.ReadAsync())["panels"]!.AsArray().Select(p => p!)];
        Assert.Equal("row", (string)panels[0]["type"]!);
        Assert.True(panels.Skip(1).TakeWhile(p => (string)p["type"]! == "stat").Count() >= 8);
        Assert.True(panels.Count(p => (string)p["type"]! == "row") >= 4);
        Assert.Equal(panels.Length, panels.Select(p => (int)p["id"]!).Distinct().Count());
        HashSet<(int X, int Y)> taken = [];
        foreach (JsonNode panel in panels)
        {
            JsonNode place = panel["gridPos"]!;
            for (int x = (int)place["x"]!; x < (int)place["x"]! + (int)place["w"]!; x++)
            {
                for (int y = (int)place["y"]!; y < (int)place["y"]! + (int)place["h"]!; y++)
                    Assert.True(x < Width && taken.Add((x, y)), $"'{panel["title"]}' lies over another panel, or beyond the edge.");
            }
            if ((string)panel["type"]! == "stat")
                Assert.NotNull(panel["fieldConfig"]!["defaults"]!["thresholds"]);
            if ((string)panel["type"]! == "timeseries")
                Assert.All(panel["targets"]!.AsArray(), t => Assert.Contains("{{instance}}", (string)t!["legendFormat"]!, StringComparison.Ordinal));
            if ((string)panel["type"]! != "row")
                Assert.NotEmpty((string)panel["description"]!);
        }
    }

    [Fact]
    public async Task Every_metric_is_on_the_dashboard_and_no_counter_is_shown_as_it_stands()
    {
        JsonNode dashboard = await Dashboard.ReadAsync();
        string[] queries = [.. dashboard["panels"]!.AsArray().Where(p => p!["targets"] is not null).SelectMany(p => p!["targets"]!.AsArray()).Select(t => (string)t!["expr"]!)];
        foreach (MetricTable.Row metric in MetricTable.Read().Concat(MetricTable.Read("connection metrics")).Concat(MetricTable.Read("server memory metrics")).Concat(MetricTable.Read("multi-rail metrics")))
        {
            string[] found = [.. queries.Where(q => MetricNames().Matches(q).Any(m => Base(m.Value) == metric.Prometheus))];
            Assert.True(found.Length > 0, $"{metric.Prometheus} is not on the dashboard.");
            if (metric.Kind == "counter")
                Assert.All(found, q => Assert.Matches($@"\b(rate|increase)\({metric.Prometheus}\b", q));
        }
    }

    [Fact]
    public async Task Each_alert_has_a_runbook_with_a_query()
    {
        string rules = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "dashboards", "alloctools.rules.yml"), Token);
        string document = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "telemetry.md"), Token);
        string[] alerts = [.. Alert().Matches(rules).Select(m => m.Groups[1].Value)];
        Dictionary<string, string> runbooks = document.Split("\n### ").Skip(1).ToDictionary(s => s.Split('\n')[0], s => s);
        Assert.Equal(alerts.Order(StringComparer.Ordinal), runbooks.Keys.Order(StringComparer.Ordinal));

        string[] metrics = [.. MetricTable.Read().Concat(MetricTable.Read("multi-rail metrics")).Select(r => r.Prometheus)];
        string[] queries = [.. runbooks.Values.Select(r => Query().Match(r).Groups[1].Value.Trim())];
        Assert.All(queries, query =>
        {
            Assert.NotEmpty(query);
            Assert.All(MetricNames().Matches(query), m => Assert.Contains(Base(m.Value), metrics));
        });
        Assert.All(alerts, alert => Assert.Contains($"}}}}#{alert.ToLowerInvariant()}\"", rules, StringComparison.Ordinal));

        // Prometheus decides what is a valid query.
        string file = Path.Combine(Directory.CreateTempSubdirectory("alloctools-queries-").FullName, "queries.yml");
        try
        {
            await File.WriteAllTextAsync(
                file, "groups:\n- name: queries\n  rules:\n" + string.Concat(queries.Select((q, i) => $"  - record: q{i}\n    expr: >-\n      {q.ReplaceLineEndings(" ")}\n")), Token);
            using Process promtool = Process.Start(new ProcessStartInfo("promtool", ["check", "rules", file]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            string output = await promtool.StandardOutput.ReadToEndAsync(Token) + await promtool.StandardError.ReadToEndAsync(Token);
            await promtool.WaitForExitAsync(Token);
            Assert.True(promtool.ExitCode == 0, output);
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(file)!, recursive: true);
        }
    }

    /// <summary>Returns a histogram's name without the suffix of its series.</summary>
    private static string Base(string metric) => HistogramSuffix().Replace(metric, "");

    /// <summary>Matches names of metrics, but not those of recorded series, labels and variables.</summary>
    [GeneratedRegex("(?<![a-z_$\"])rma_(pool|cache|endpoint|connection|server_memory|rail)_(?!name\\b)[a-z_]+(?![a-z_:])")]
    private static partial Regex MetricNames();

    [GeneratedRegex("(?<=_seconds)_(bucket|sum|count)$")]
    private static partial Regex HistogramSuffix();

    [GeneratedRegex("- alert: (\\w+)")]
    private static partial Regex Alert();

    [GeneratedRegex("```promql\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Query();
}
