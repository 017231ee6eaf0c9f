using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using AllocTools.Doctor.Bench;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Doctor.Tests;

/// <summary>Tests <c>alloctools bench</c> between two processes.</summary>
public sealed class BenchTests : IDisposable
{
    private static readonly string[] Few = ["--iterations", "20", "--warmup", "5", "--sizes", "64,4 KiB,1 MiB"];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("--fabric", "tcp;ofi_rxm")]
    [InlineData("--fabric", "shm")]
    [InlineData("--provider", "ucx")]
    public async Task AllRowsAreThereAndPositive(string option, string value)
    {
        string plot = Path.Combine(_folder.Path, "plot.svg");
        Tool run = await Tool.RunAsync(["bench", "--json", option, value, "--plot", plot, .. Few]);
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        JsonObject report = run.Json;
        Assert.Equal(1, (int?)report["format"]);
        JsonObject[] rows = [.. report["rows"]!.AsArray().Select(static r => r!.AsObject())];
        Assert.Equal(
            from test in (string[])["rent/return", "write", "read", "pingpong", "stream", "roundtrip"] from size in (int[])[64, 4096, 1 << 20] select (test, size),
            rows.Select(static r => ((string)r["test"]!, (int)r["bytes"]!)));
        Assert.All(rows, static row =>
        {
            int parts = (string?)row["test"] is "pingpong" or "roundtrip" ? 2 : 1;
            int iterations = (string?)row["test"] == "rent/return" ? 2000 : 20;
            Assert.Equal((string?)row["test"] switch { "rent/return" => "pool", "write" or "read" or "pingpong" => "endpoint", _ => "connection" }, (string?)row["layer"]);
            Assert.Equal((iterations, parts), ((int)row["iterations"]!, (int)row["transfersPerIteration"]!));
            Assert.Equal((long)row["bytes"]! * iterations * parts, (long?)row["totalBytes"]);
            JsonObject latency = row["latency"]!.AsObject();
            double[] percentiles = [.. ((string[])["p50", "p90", "p99", "p999"]).Select(p => (double)latency[p]!)];
            Assert.True(percentiles[0] > 0 && percentiles.SequenceEqual(percentiles.Order()), row.ToString());
            double seconds = (double)row["seconds"]!;
            Assert.Equal((long)row["totalBytes"]! / seconds / 1e6, (double)row["megabytesPerSecond"]!, 1e-6);
            Assert.Equal(seconds * 1e6 / (iterations * parts), (double)row["microsecondsPerTransfer"]!, 1e-6);
        });
        XElement picture = XElement.Load(plot);
        Assert.Equal("svg", picture.Name.LocalName);
        // There is a line for each test in the panel of times, and for all but the pool in the panel of bandwidth.
        Assert.Equal(6 + 5, picture.Elements().Count(static e => e.Name.LocalName == "polyline"));
        Assert.Equal(18 + 15, picture.Elements().Count(static e => e.Name.LocalName == "circle"));
    }

    [Fact]
    public async Task CsvHasALineForEachRow()
    {
        Tool run = await Tool.RunAsync(["bench", "pool", "endpoint", "--csv", .. Few]);
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        string[][] lines = [.. run.Output.TrimEnd().Split('\n').Select(static l => l.Split(','))];
        Assert.Equal(Row.Columns, lines[0]);
        Assert.Equal(1 + 4 * 3, lines.Length);
        Assert.All(lines[1..], static l => Assert.All(l[2..], static f => Assert.True(double.Parse(f, CultureInfo.InvariantCulture) > 0, f)));
        // There are no more digits than a clock of nanoseconds has.
        Assert.All(lines[1..], static l => Assert.All(l[2..], static f => Assert.Matches(@"^\d+(\.\d{3}|\.\d{6})?$", f)));
    }

    [Fact]
    public async Task TwoHostsAgreeAndBothEnd()
    {
        using Listening target = await Listening.StartAsync([.. Few, "endpoint"]);
        Tool run = await Tool.RunAsync(["bench", "endpoint", "--connect", $"127.0.0.1:{target.Port}", .. Few]);
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        string[] lines = run.Output.TrimEnd().Split('\n');
        Assert.Equal(2 + 3 * 3, lines.Length);
        Assert.StartsWith("layer ", lines[1], StringComparison.Ordinal);
        Assert.All(lines[2..], static l => Assert.Matches(@"^endpoint +(write|read|pingpong) +(64|4k|1m) +\d+ +20 +[\d.]+ (bytes|KiB|MiB) ", l));
        Assert.DoesNotContain('\u001b', run.Output);
        Assert.Equal((0, ""), await target.EndAsync());
    }

    [Fact]
    public async Task SettingsThatDifferAreOneLineOnBothSides()
    {
        using Listening target = await Listening.StartAsync([.. Few, "--window", "8"]);
        Tool run = await Tool.RunAsync(["bench", "--connect", $"127.0.0.1:{target.Port}", .. Few]);
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("--window 64 on this side, and 8 on the other one", Assert.Single(run.Errors.TrimEnd().Split('\n')), StringComparison.Ordinal);
        (int exitCode, string errors) = await target.EndAsync();
        Assert.Equal(1, exitCode);
        Assert.Contains("--window", Assert.Single(errors.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tcp;ofi_rxm")]
    [InlineData("shm")]
    public async Task APeerThatIsKilledIsOneLine(string provider)
    {
        using Listening target = await Listening.StartAsync(["endpoint", "--fabric", provider, "--sizes", "4096", "--duration", "60"]);
        Task<Tool> measuring = Tool.RunAsync("bench", "endpoint", "--connect", $"127.0.0.1:{target.Port}", "--fabric", provider, "--sizes", "4096", "--duration", "60");
        await target.MeetAsync();
        target.Kill();
        Tool run = await measuring;
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("is gone", Assert.Single(run.Errors.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhoeverSpeaksNoJsonIsRefused()
    {
        using Listening target = await Listening.StartAsync(Few);
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, target.Port, TestContext.Current.CancellationToken);
        await client.GetStream().WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
        (int exitCode, string errors) = await target.EndAsync();
        Assert.Equal(1, exitCode);
        Assert.Equal("The other side is not alloctools bench: its answer can't be read.", errors.TrimEnd());
    }

    [Fact]
    public async Task NobodyListensIsOneLine()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        Tool run = await Tool.RunAsync("bench", "--connect", taken.LocalEndPoint!.ToString()!);
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("alloctools bench --listen", Assert.Single(run.Errors.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task AFabricThatIsNotHereIsOneLineAndNoTable()
    {
        Tool run = await Tool.RunAsync(["bench", "--fabric", "nowhere", .. Few]);
        Assert.Equal((1, ""), (run.ExitCode, run.Output));
        Assert.Contains("'nowhere'", Assert.Single(run.Errors.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutAnAddressOnlyThisMachineIsListenedTo()
    {
        // It runs in a network of its own, where nobody else has the port.
        string[] apart = ["-Urn", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
        using Process process = Process.Start(new ProcessStartInfo("unshare", [.. apart, Tool.Program, "bench", "endpoint", "--listen", .. Few]) { RedirectStandardOutput = true })!;
        try
        {
            string? line = await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTime.Seconds(30), TestContext.Current.CancellationToken);
            Assert.StartsWith("Listening at 127.0.0.1:9228, which only this machine reaches", line, StringComparison.Ordinal);
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }
    }

    [Theory]
    [InlineData("--sizes has '4x'; it must be", "--sizes", "4x")]
    [InlineData("--provider is 'shm'. It must be one of libfabric, ucx.", "--provider", "shm")]
    [InlineData("--fabric needs --provider libfabric", "--provider", "ucx", "--fabric", "shm")]
    [InlineData("--window must be a number between 1 and 1,024.", "--window", "0")]
    [InlineData("The layer is 'endpont'. Did you mean endpoint?", "endpont")]
    [InlineData("Unknown option '--itrations'. Did you mean --iterations?", "--itrations", "3")]
    public async Task WrongUsageIsOneLine(string line, params string[] arguments)
    {
        Tool run = await Tool.RunAsync(["bench", .. arguments]);
        Assert.Equal(2, run.ExitCode);
        Assert.StartsWith(line, Assert.Single(run.Errors.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public void PercentilesAreTheSmallestThatAsManyAreNotLongerThan()
    {
        var times = new IterationTimes();
        // They are added backwards, so that they have to be sorted.
        for (int i = 1000; i >= 1; i--)
            times.Add(i * Stopwatch.Frequency / 1_000_000);
        LatencyColumns columns = times.ToColumns(parts: 2);
        Assert.Equal((250, 450, 495, 499.5), (columns.P50, columns.P90, columns.P99, columns.P999));
        Assert.Equal(250.25, columns.Average, 1e-9);
        Assert.Equal(new LatencyColumns(0, 0, 0, 0, 0), new IterationTimes().ToColumns(1));
    }

    [Theory]
    [InlineData(64, "64")]
    [InlineData(4096, "4k")]
    [InlineData(1 << 20, "1m")]
    [InlineData(1000, "1000")]
    public void SizesAreWrittenAsFabtestsDoes(int bytes, string text) => Assert.Equal(text, Row.Short(bytes));

    /// <summary>The other side, as it would run on another host.</summary>
    private sealed class Listening : IDisposable
    {
        private readonly Process _process;
        private readonly Task<string> _errors;

        private Listening(Process process)
        {
            _process = process;
            _errors = process.StandardError.ReadToEndAsync();
        }

        public int Port { get; private set; }

        public static async Task<Listening> StartAsync(string[] arguments)
        {
            Process process = Process.Start(new ProcessStartInfo(Tool.Program, ["bench", .. arguments, "--listen", "127.0.0.1:0"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            var listening = new Listening(process);
            string? line = await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTime.Seconds(30));
            Assert.StartsWith("Listening at 127.0.0.1:", line, StringComparison.Ordinal);
            listening.Port = int.Parse(line!["Listening at 127.0.0.1:".Length..].Split(',')[0], CultureInfo.InvariantCulture);
            return listening;
        }

        /// <summary>Waits until the two sides measure: both have opened their endpoints then.</summary>
        public async Task MeetAsync()
        {
            string? line = await _process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTime.Seconds(30));
            Assert.StartsWith("Measuring with ", line, StringComparison.Ordinal);
        }

        public void Kill() => _process.Kill();

        public async Task<(int ExitCode, string Errors)> EndAsync()
        {
            await _process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TestTime.Seconds(30));
            return (_process.ExitCode, await _errors);
        }

        public void Dispose()
        {
            if (!_process.HasExited)
                _process.Kill(entireProcessTree: true);
            _process.Dispose();
        }
    }
}
