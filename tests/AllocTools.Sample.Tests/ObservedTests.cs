using System.Net;
using System.Net.Sockets;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>Tests what an operator sees of the sample: on the terminal, and in Prometheus.</summary>
public sealed class ObservedTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("TERM")]
    [InlineData("INT")]
    public async Task ALoadIsShownLiveCanBeScrapedAndEndsWellWhenItIsStopped(string signal)
    {
        int port = FreePort();
        await using var sample = SampleProcess.PoolDrill("--live", "--prometheus", $"http://127.0.0.1:{port}/metrics");
        string row = "";
        // The columns are class, bar, rented, idle, hits, misses and ratio: wait until there are hits.
        while (!row.Split('│', StringSplitOptions.TrimEntries).Skip(5).Take(1).Any(hits => hits is not ("0" or "")))
            row = await sample.ReadUntilAsync("│ 524288 │");
        using var client = new HttpClient();
        string scraped = await client.GetStringAsync(new Uri($"http://127.0.0.1:{port}/metrics"), Token);
        Assert.Matches("rma_pool_hits_total{.*rma_size_class=\"524288\".*} [1-9]", scraped);
        Assert.Matches("rma_endpoint_operations_total{.*rma_operation=\"write\".*} [1-9]", scraped);

        using var kill = System.Diagnostics.Process.Start("kill", [$"-{signal}", $"{sample.Id}"]);
        SampleResult result = await sample.EndAsync();
        Assert.Equal(["Keeping the pool busy until this is stopped."], result.ErrorLines);
        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public async Task MetricsAndSpansGoWhereTheEnvironmentSays()
    {
        int port = FreePort();
        using var collector = new HttpListener { Prefixes = { $"http://127.0.0.1:{port}/" } };
        collector.Start();
        await using var sample = new SampleProcess(
            ["env", $"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_METRIC_EXPORT_INTERVAL=200"],
            ["--Telemetry:TraceOperations=true"],
            "PoolDrill");
        List<string> missing = ["/v1/metrics rma.pool.hits", "/v1/metrics rma.endpoint.operation.duration", "/v1/traces rma.register", "/v1/traces rma.write"];
        while (missing.Count != 0)
        {
            HttpListenerContext call = await collector.GetContextAsync().WaitAsync(TestTime.Seconds(120), Token);
            using var body = new StreamReader(call.Request.InputStream, System.Text.Encoding.Latin1);
            string text = await body.ReadToEndAsync(Token);
            missing.RemoveAll(m => m.Split(' ')[0] == call.Request.Url!.AbsolutePath && text.Contains(m.Split(' ')[1], StringComparison.Ordinal));
            call.Response.Close();
        }
    }

    [Theory]
    [InlineData("ftp://127.0.0.1:9464/metrics", "an address such as http://")]
    [InlineData("here", "an address such as http://")]
    [InlineData("http://192.0.2.7:9464/metrics", "Cannot assign requested address")]
    public async Task AnAddressThatCannotBeScrapedIsOneLine(string address, string why)
    {
        await using var sample = SampleProcess.PoolDrill("--prometheus", address);
        SampleResult result = await sample.EndAsync();
        string line = Assert.Single(result.ErrorLines);
        Assert.Contains($"Telemetry:Prometheus is '{address}'", line, StringComparison.Ordinal);
        Assert.Contains(why, line, StringComparison.Ordinal);
        Assert.Equal(2, result.ExitCode);
    }

    [Fact]
    public async Task APortThatIsTakenIsOneLine()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        await using var sample = SampleProcess.PoolDrill("--prometheus", $"http://{taken.LocalEndpoint}/metrics");
        SampleResult result = await sample.EndAsync();
        Assert.Contains("in use", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.Equal(2, result.ExitCode);
    }

    [Theory]
    [InlineData("nonsense 1", "Unknown command 'nonsense'. The commands are hit,")]
    [InlineData("hit x", "The count in 'hit x' is 'x'; it must be a whole number")]
    [InlineData("hit -3", "is '-3'; it must be a whole number between 0")]
    public async Task ADrillSaysWhatItDoesNotUnderstand(string command, string error)
    {
        await using var sample = SampleProcess.PoolDrill("--drill");
        await sample.WriteLineAsync("hit 2");
        await sample.WriteLineAsync(command);
        SampleResult result = await sample.EndAsync();
        Assert.Contains("done hit", result.Output, StringComparison.Ordinal);
        Assert.Contains(error, Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        Assert.Equal(2, result.ExitCode);
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}
