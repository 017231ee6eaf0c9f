using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using AllocTools.Testing;

namespace AllocTools.Telemetry.Tests.Support;

/// <summary>
/// A real Prometheus on the loopback interface that scrapes one process. Its minutes are seconds: the rules are those
/// of the project, sixty times as fast.
/// </summary>
internal sealed partial class Prometheus : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(100);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("alloctools-prometheus-");
    private readonly HttpClient _client = new();
    private readonly Process _process;
    private readonly Task<string> _log;

    private Prometheus(int scrapedPort)
    {
        int port = FreePort.Find();
        _client.BaseAddress = new Uri($"http://127.0.0.1:{port}/");
        string rules = File.ReadAllText(Path.Combine(Repository.Root, "dashboards", "alloctools.rules.yml"));
        File.WriteAllText(Path.Combine(_folder.FullName, "rules.yml"), Minutes().Replace(rules, "$1s"));
        File.WriteAllText(
            Path.Combine(_folder.FullName, "prometheus.yml"),
            $"""
            global: {"{"} scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms {"}"}
            rule_files: [ rules.yml ]
            scrape_configs:
              - job_name: drill
                static_configs: [ {"{"} targets: [ "127.0.0.1:{scrapedPort}" ] {"}"} ]
            """);
        // The shell ends it when the shell's own input ends, so that it does not outlive a test run that was killed.
        _process = Process.Start(new ProcessStartInfo(
            "sh",
            [
                "-c", "exec 3<&0; prometheus \"$@\" <&- & read -r _ <&3; kill $!; wait", "sh",
                $"--config.file={_folder.FullName}/prometheus.yml", $"--storage.tsdb.path={_folder.FullName}/data",
                $"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
            ])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        _log = _process.StandardError.ReadToEndAsync();
    }

    /// <summary>Starts it, and waits until it has scraped the process.</summary>
    public static async Task<Prometheus> StartAsync(int scrapedPort)
    {
        var prometheus = new Prometheus(scrapedPort);
        try
        {
            await prometheus.UntilAsync("up == 1", found => found.Length == 1);
        }
        catch
        {
            await prometheus.DisposeAsync();
            throw;
        }
        return prometheus;
    }

    /// <summary>Returns the current series of an expression.</summary>
    public async Task<(Dictionary<string, string> Labels, double Value)[]> QueryAsync(string expression)
    {
        using HttpResponseMessage response = await _client.GetAsync($"api/v1/query?query={Uri.EscapeDataString(expression)}");
        if (response.StatusCode == HttpStatusCode.ServiceUnavailable)
            throw new HttpRequestException("Prometheus is not ready yet.");
        JsonNode answer = (await response.Content.ReadFromJsonAsync<JsonNode>())!;
        if ((string?)answer["status"] != "success")
            throw new InvalidOperationException($"{expression}: {answer["error"]}");
        return
        [
            .. answer["data"]!["result"]!.AsArray().Select(series => (
                series!["metric"]!.AsObject().ToDictionary(l => l.Key, l => (string)l.Value!),
                double.Parse((string)series["value"]![1]!, CultureInfo.InvariantCulture))),
        ];
    }

    /// <summary>Repeats a query until the answer is right: Prometheus does not notify anybody of a scrape.</summary>
    public async Task<(Dictionary<string, string> Labels, double Value)[]> UntilAsync(
        string expression, Func<(Dictionary<string, string> Labels, double Value)[], bool> isRight, Func<Task>? meanwhile = null)
    {
        using var patience = new CancellationTokenSource(Patience);
        using var timer = new PeriodicTimer(Look);
        (Dictionary<string, string> Labels, double Value)[] found = [];
        try
        {
            do
            {
                if (meanwhile is not null)
                    await meanwhile();
                try
                {
                    found = await QueryAsync(expression);
                    if (isRight(found))
                        return found;
                }
                catch (HttpRequestException) when (!_process.HasExited)
                {
                    // It does not listen yet, or does not answer yet.
                }
            }
            while (await timer.WaitForNextTickAsync(patience.Token));
        }
        catch (OperationCanceledException)
        {
            // Report the last answer below.
        }
        throw new InvalidOperationException(
            $"{expression} gave, in {Patience}: {string.Join("; ", found.Select(f => $"{string.Join(',', f.Labels)} = {f.Value}"))}{(_process.HasExited ? await _log : "")}");
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.StandardInput.Close();
            await _process.WaitForExitAsync();
        }
        _process.Dispose();
        _client.Dispose();
        _folder.Delete(recursive: true);
    }

    /// <summary>Matches durations, but not the names of recorded series.</summary>
    [GeneratedRegex("(?<![a-z0-9])([0-9]+)m\\b")]
    private static partial Regex Minutes();
}
