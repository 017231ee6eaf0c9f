using System.Diagnostics;
using System.Text.Json.Nodes;

namespace AllocTools.Telemetry.Tests.Support;

/// <summary>The sample PoolDrill, which executes commands against its pools. It ends with the test.</summary>
internal sealed class Drill : IAsyncDisposable
{
    public const string Pool = "default";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private readonly Process _process;
    private readonly Task<string> _error;

    private Drill(int port)
    {
        Port = port;
        string here = AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar);
        string program = Path.GetFullPath(Path.Combine(here, "..", "..", "PoolDrill", Path.GetFileName(here), "PoolDrill"));
        string[] arguments =
        [
            "--drill", "--prometheus", $"http://127.0.0.1:{port}/metrics",
            "--AllocTools:MaxRegisteredBytes=4 MiB", "--AllocTools:MaxIdleDirectBytes=0", "--AllocTools:RentTimeout=01:00:00",
            "--AllocTools:IdleRetention=00:00:00.500", "--AllocTools:TrimInterval=00:00:00.200", "--AllocTools:LeakDetection=All",
            "--AllocTools:Provider:Endpoint:MaxOutstanding=16",
            // Drills use the largest of the sample's three size classes.
            "--AllocTools:SizeClasses:0:BlockSize=2 KiB", "--AllocTools:SizeClasses:0:InitialBlocks=64",
            "--AllocTools:SizeClasses:1:BlockSize=16 KiB", "--AllocTools:SizeClasses:1:InitialBlocks=0",
            "--AllocTools:SizeClasses:2:BlockSize=256 KiB", "--AllocTools:SizeClasses:2:InitialBlocks=8",
        ];
        _process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        _error = _process.StandardError.ReadToEndAsync();
    }

    /// <summary>Gets the port at which it can be scraped.</summary>
    public int Port { get; }

    public int ProcessId => _process.Id;

    /// <summary>Starts it, and waits until it accepts commands.</summary>
    public static async Task<Drill> StartAsync()
    {
        var drill = new Drill(FreePort.Find());
        try
        {
            await drill.DoAsync("hit 0");
        }
        catch
        {
            await drill.DisposeAsync();
            throw;
        }
        return drill;
    }

    /// <summary>Sends it a command, and waits until it is done.</summary>
    /// <returns>Its answer.</returns>
    public async Task<string> DoAsync(string command)
    {
        await _process.StandardInput.WriteLineAsync(command);
        await _process.StandardInput.FlushAsync();
        string done = $"done {command.Split(' ')[0]}";
        while (await _process.StandardOutput.ReadLineAsync().WaitAsync(Patience) is { } line)
        {
            if (line.StartsWith(done, StringComparison.Ordinal))
                return line[done.Length..].Trim();
        }
        throw new InvalidOperationException($"The drill ended at '{command}': {await _error}");
    }

    /// <summary>Returns the statistics of its pools, by name.</summary>
    public async Task<JsonObject> StatisticsAsync() => JsonNode.Parse(await DoAsync("stats"))!.AsObject();

    /// <summary>Returns the statistics of its endpoint.</summary>
    public async Task<JsonObject> EndpointAsync() => JsonNode.Parse(await DoAsync("endpoint"))!.AsObject();

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }
        _process.Dispose();
    }
}
