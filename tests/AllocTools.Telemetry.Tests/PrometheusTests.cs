using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using AllocTools.Telemetry.Tests.Support;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Telemetry.Tests;

/// <summary>Tests what an operator sees: the real Prometheus scrapes the running sample.</summary>
public sealed partial class PrometheusTests
{
    [Fact]
    public async Task Each_metric_is_what_the_pools_say()
    {
        await using Drill drill = await Drill.StartAsync();
        foreach (string command in new[] { "hit 100", "miss 3", "cache 4", "reject 2", "fail 2", "leak 1", "hold 15", "wait 2", "release", "trim", "write 7", "hold 2", "reload 3", "spoil", "receive 5" })
            await drill.DoAsync(command);
        await using Prometheus prometheus = await Prometheus.StartAsync(drill.Port);
        JsonObject pools = await drill.StatisticsAsync();
        foreach ((string pool, JsonNode? node) in pools)
        {
            JsonNode now = node!;
            foreach ((string metric, string property) in new[]
            {
                ("rma_pool_registrations_total", "Registrations"), ("rma_pool_deregistrations_total", "Deregistrations"),
                ("rma_pool_hits_total", "Hits"), ("rma_pool_misses_total", "Misses"), ("rma_pool_rejections_total", "Rejections"),
                ("rma_pool_registration_failures_total", "RegistrationFailures"), ("rma_pool_registered_bytes", "RegisteredBytes"),
                ("rma_pool_limit_bytes", "LimitBytes"), ("rma_pool_pending_requests", "PendingRequests"), ("rma_pool_trims_total", "Trims"),
                ("rma_pool_trimmed_bytes_total", "TrimmedBytes"), ("rma_pool_leaks_total", "Leaks"), ("rma_pool_quarantined", "QuarantinedBuffers"),
            })
            {
                double expected = (double)now[property]!;
                await prometheus.UntilAsync(
                    $"sum({metric}{{rma_pool_name=\"{pool}\"}}) or vector(0)", found => found.Single().Value == expected);
            }
            foreach (JsonNode? sizeClass in now["SizeClasses"]!.AsArray())
            {
                string tags = $"rma_pool_name=\"{pool}\",rma_size_class=\"{sizeClass!["Name"]}\"";
                foreach ((string metric, string property) in new[]
                {
                    ($"rma_pool_hits_total{{{tags}}}", "Hits"), ($"rma_pool_misses_total{{{tags}}}", "Misses"),
                    ($"rma_pool_registered_bytes{{{tags},rma_state=\"rented\"}}", "RentedBytes"), ($"rma_pool_registered_bytes{{{tags},rma_state=\"idle\"}}", "IdleBytes"),
                    ($"rma_pool_buffer_count{{{tags},rma_state=\"rented\"}}", "RentedBuffers"), ($"rma_pool_buffer_count{{{tags},rma_state=\"idle\"}}", "IdleBuffers"),
                })
                {
                    double expected = (double)sizeClass[property]!;
                    await prometheus.UntilAsync(metric, found => found.Single().Value == expected);
                }
            }
        }

        JsonNode main = pools[Drill.Pool]!;
        Assert.Equal((1, 2), ((int)main["Leaks"]!, (int)main["Rejections"]!));
        await prometheus.UntilAsync("sum(rma_pool_registration_duration_seconds_count{rma_pool_name=\"locked\"}) by (error_type)", f => f is [{ Value: 2 }] && f[0].Labels["error_type"] == "ENOMEM");
        double registrations = (double)main["Registrations"]!;
        await prometheus.UntilAsync($"sum(rma_pool_registration_duration_seconds_count{{rma_pool_name=\"{Drill.Pool}\"}})", f => f.Single().Value > 0 && f.Single().Value <= registrations);
        await prometheus.UntilAsync("rma_pool_wait_time_seconds_count", f => f is [{ Value: 2 }]);
        JsonNode endpoint = await drill.EndpointAsync();
        foreach (JsonNode? operation in endpoint["Operations"]!.AsArray())
        {
            string tag = $"rma_operation=\"{new[] { "write", "read", "send", "receive" }[(int)operation!["Kind"]!]}\"";
            await prometheus.UntilAsync($"rma_endpoint_operations_total{{{tag},error_type=\"\"}}", f => f.Single().Value == (double)operation["Succeeded"]!);
            await prometheus.UntilAsync($"rma_endpoint_io_bytes_total{{{tag}}}", f => f.Single().Value == (double)operation["Bytes"]!);
        }
        await prometheus.UntilAsync("rma_endpoint_operation_duration_seconds_count{rma_operation=\"write\"}", f => f is [{ Value: 7 }]);
        foreach ((string expression, double expected) in new[]
        {
            ("rma_endpoint_outstanding{rma_state=\"running\"}", 5d), ("rma_endpoint_outstanding{rma_state=\"abandoned\"}", 0), ("rma_endpoint_outstanding{rma_state=\"unclaimed\"}", 0),
            ("rma_cache_hits_total{rma_pool_name=\"default\"}", 3), ("rma_cache_misses_total{rma_pool_name=\"default\"}", 1), ("sum(rma_cache_hits_total{rma_pool_name=\"locked\"})", 0),
            ("rma_endpoint_peer_changes_total{rma_state=\"lost\"}", 0), ("rma_endpoint_peer_changes_total{rma_state=\"slow\"}", 0), ("rma_endpoint_peers{rma_state=\"up\"}", 1), ("rma_endpoint_peers{rma_state=\"lost\"}", 0), ("sum(rma_endpoint_retries_total)", 0), ("rma_endpoint_lost_notifications_total", 0), ("rma_endpoint_unread_notifications", 0), ("rma_endpoint_limit", 16), ("rma_endpoint_pending_operations", 0), ("rma_endpoint_held_back_sends", 0), ("rma_endpoint_count{rma_state=\"open\"}", 1), ("rma_endpoint_count{rma_state!=\"open\"} > 0 or vector(0)", 0),
            ("rma_pool_reloads_total{rma_pool_name=\"default\",rma_outcome=\"accepted\"}", 3), ("rma_pool_reloads_total{rma_pool_name=\"default\",rma_outcome=\"rejected\"}", 1),
            ("rma_pool_configuration_valid{rma_pool_name=\"default\"}", 0), ("rma_pool_configuration_valid{rma_pool_name=\"locked\"}", 1),
        })
            await prometheus.UntilAsync(expression, f => f.Single().Value == expected);

        Assert.Equal(
            MetricTable.Read().Select(row => row.Prometheus).Order(StringComparer.Ordinal),
            (await SeriesAsync()).Where(s => !s.Contains("_created,", StringComparison.Ordinal)).Select(s => HistogramSuffix().Replace(s.Split(',')[0], "")["__name__=".Length..]).Distinct().Order(StringComparer.Ordinal));

        // No series is added with use. Those that rules record have no scope.
        string[] series = await SeriesAsync();
        foreach (string command in new[] { "hit 1000", "write 200", "reject 10", "fail 5", "leak 3" })
            await drill.DoAsync(command);
        await prometheus.UntilAsync("rma_pool_leaks_total{rma_pool_name=\"default\"}", f => f.Single().Value >= 4);
        Assert.Equal(series, await SeriesAsync());

        async Task<string[]> SeriesAsync() =>
        [
            .. (await prometheus.QueryAsync("{__name__=~\"rma_.*\",otel_scope_name!=\"\"}"))
                .Select(s => string.Join(',', s.Labels.Where(l => l.Key is not ("instance" or "job")).Select(l => $"{l.Key}={l.Value}").Order(StringComparer.Ordinal)))
                .Order(StringComparer.Ordinal),
        ];
    }

    [Fact]
    public async Task Each_query_of_the_dashboard_returns_data()
    {
        await using Drill drill = await Drill.StartAsync();
        await using Prometheus prometheus = await Prometheus.StartAsync(drill.Port);
        async Task Load()
        {
            foreach (string command in new[] { "hit 20", "miss 2", "fail 1", "hold 15", "wait 2", "release", "write 5", "lose 1", "reload 1" })
                await drill.DoAsync(command);
        }

        JsonNode dashboard = await Dashboard.ReadAsync();
        string[] queries =
        [
            .. dashboard["panels"]!.AsArray().Where(p => (string?)p!["type"] != "row").SelectMany(p => p!["targets"]!.AsArray()).Concat(dashboard["annotations"]!["list"]!.AsArray()).Select(t => (string)t!["expr"]!)
                // The drill has no connections, no server and no multi-rail; ConnectionPanelTests and RailPanelTests
                // check their panels.
                .Where(q => !q.Contains("rma_connection_", StringComparison.Ordinal) && !q.Contains("rma_server_memory_", StringComparison.Ordinal) && !q.Contains("rma_rail_", StringComparison.Ordinal)),
        ];
        Assert.True(queries.Length > 40);
        foreach (string query in queries)
        {
            string asked = query.Replace("$__rate_interval", "5s", StringComparison.Ordinal).Replace("$__range", "30s", StringComparison.Ordinal).Replace("$pool", ".+", StringComparison.Ordinal)
                .Replace("$job", ".+", StringComparison.Ordinal).Replace("$instance", ".+", StringComparison.Ordinal);
            Assert.DoesNotContain("$", asked, StringComparison.Ordinal);
            await prometheus.UntilAsync(asked, found => found.Any(f => double.IsFinite(f.Value)), Load);
        }
        foreach (JsonNode? variable in dashboard["templating"]!["list"]!.AsArray().Skip(1))
        {
            string metric = ((string)variable!["query"]!["query"]!).Split('(', ')', '{', ',')[1];
            Assert.NotEmpty(await prometheus.QueryAsync(metric));
        }
    }

    [Fact]
    public async Task Each_alert_fires_in_its_scenario_and_none_in_a_normal_run()
    {
        await using Drill drill = await Drill.StartAsync();
        await using Prometheus prometheus = await Prometheus.StartAsync(drill.Port);
        // This is longer than the longest wait of any alert, 10 of these seconds.
        long normal = Stopwatch.GetTimestamp();
        // A pending alert has not fired: a busy machine may delay a request for a moment, which is what its "for" is for.
        await prometheus.UntilAsync(
            "ALERTS{alertstate=\"firing\"}",
            found =>
            {
                Assert.Equal([], found.Select(f => f.Labels["alertname"]));
                return Stopwatch.GetElapsedTime(normal) > TimeSpan.FromSeconds(15);
            },
            () => drill.DoAsync("hit 500"));

        await drill.DoAsync("hold 15");
        await drill.DoAsync("wait 2");
        await Fires("RmaPoolNearCap");
        await Fires("RmaPoolRequestsStuck");
        await drill.DoAsync("release");
        await Ends("RmaPoolNearCap");
        await Ends("RmaPoolRequestsStuck");
        await Fires("RmaPoolRequestsWaiting", "hold 15", "wait 2", "release");
        await Ends("RmaPoolRequestsWaiting");
        await drill.DoAsync("reject 2");
        await Fires("RmaPoolRejections");
        await drill.DoAsync("spoil");
        await Fires("RmaPoolConfigurationRejected");
        await drill.DoAsync("reload 1");
        await Ends("RmaPoolConfigurationRejected");
        await Fires("RmaPoolRegistrationsFailing", "fail 1");
        await Ends("RmaPoolRegistrationsFailing");
        await drill.DoAsync("receive 15");
        await Fires("RmaEndpointAtLimit");
        await drill.DoAsync("release");
        await Ends("RmaEndpointAtLimit");
        await Fires("RmaEndpointOperationsFailing", "lose 1");
        await prometheus.UntilAsync("rma_endpoint_peer_changes_total{rma_state=\"lost\"} > 0", found => found.Length == 1);
        await Ends("RmaEndpointOperationsFailing", "write 20");
        await drill.DoAsync("quarantine 1");
        await Fires("RmaPoolQuarantineGrowing", "hit 1");
        await drill.DoAsync("release");
        await Ends("RmaPoolQuarantineGrowing");
        await drill.DoAsync("leak 1");
        await Fires("RmaPoolLeak");
        await Fires("RmaPoolRegistrationStorm", "miss 20");
        await Fires("RmaPoolHitRatioLow", "miss 20");

        Task Fires(string alert, params string[] load) => prometheus.UntilAsync(
            $"ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}", found => found.Length == 1, () => DoAsync(load));

        Task Ends(string alert, params string[] load) => prometheus.UntilAsync(
            $"ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}", found => found.Length == 0, () => DoAsync(load));

        async Task DoAsync(string[] load)
        {
            foreach (string command in load)
                await drill.DoAsync(command);
        }
    }

    /// <summary>
    /// Matches the suffixes of a histogram's series. OpenMetrics has the creation time beside each counter and
    /// histogram.
    /// </summary>
    [GeneratedRegex("(?<=_seconds)_(bucket|sum|count)$")]
    private static partial Regex HistogramSuffix();

    [Theory]
    [InlineData("check", "rules", "alloctools.rules.yml")]
    [InlineData("test", "rules", "alloctools.rules.test.yml")]
    public async Task Promtool_accepts(string verb, string what, string file)
    {
        using Process promtool = Process.Start(new ProcessStartInfo("promtool", [verb, what, file])
        {
            WorkingDirectory = Path.Combine(Repository.Root, "dashboards"),
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        string output = await promtool.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken) + await promtool.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await promtool.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(promtool.ExitCode == 0, output);
    }
}
