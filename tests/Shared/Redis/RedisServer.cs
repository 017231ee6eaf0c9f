using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Xunit;

namespace AllocTools.Testing;

/// <summary>A separate redis-server on a free port of the loopback address, which keeps nothing on disk.</summary>
internal sealed class RedisServer : IAsyncDisposable
{
    private readonly string _folder = System.IO.Directory.CreateTempSubdirectory("alloctools-redis-").FullName;
    private Process? _process;

    public int Port { get; private set; }

    public string Configuration => $"127.0.0.1:{Port}";

    /// <summary>Starts it: at first on any free port, later on the same one again, without data.</summary>
    public async Task StartAsync()
    {
        for (int attempt = 0; ; attempt++)
        {
            int port = Port != 0 ? Port : FreePort();
            var process = Process.Start(new ProcessStartInfo("redis-server", ["--port", $"{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", _folder]) { RedirectStandardOutput = true })!;
            string log = "";
            while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
            {
                log += line + "\n";
                if (!line.Contains("Ready to accept connections", StringComparison.Ordinal))
                    continue;
                (_process, Port) = (process, port);
                // Read the output, so that the server never waits for a reader.
                _ = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
                return;
            }
            process.Dispose();
            // Another process may have taken the port.
            Assert.True(attempt < 5, log);
        }
    }

    public async Task StopAsync()
    {
        if (_process is null)
            return;
        _process.Kill();
        await _process.WaitForExitAsync(CancellationToken.None).WaitAsync(TestTime.Seconds(20), CancellationToken.None);
        _process.Dispose();
        _process = null;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        System.IO.Directory.Delete(_folder, recursive: true);
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}
