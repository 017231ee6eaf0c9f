using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using AllocTools.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Spectre.Console;

namespace AllocTools.Benchmarks.Frameworks;

/// <summary>
/// Compares HttpClient and Kestrel over fabrics with the same over TCP on the loopback address and over a Unix socket:
/// two processes, HTTP/1.1, one run.
/// </summary>
/// <remarks>
/// The transports take turns in short slices, in an order that rotates, so that other load of the machine affects all
/// of them. A figure is the median of the slices; a ratio is the median of the ratios to the slice over TCP of the
/// same round.
/// </remarks>
internal static class FrameworkTimes
{
    private const string Tcp = "TCP";
    private const int Rounds = 9;

    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(250);

    /// <summary>The bytes of an answer, and the number of connections that request it, each with one request after the other.</summary>
    private static readonly (string What, long Length, int Connections)[] Cases =
    [
        ("a request, 64 B", 64, 1), ("a request, 64 B", 64, 16),
        ("stream, 64 KiB", 64 << 10, 1), ("stream, 64 KiB", 64 << 10, 16),
        ("stream, 1 MiB", 1 << 20, 1), ("stream, 1 MiB", 1 << 20, 16),
        ("stream, 64 MiB", 64 << 20, 1), ("stream, 64 MiB", 64 << 20, 16),
    ];

    public static async Task<int> PrintAsync()
    {
        string path = Path.Combine(Path.GetTempPath(), $"alloctools-bench-{Environment.ProcessId}.sock");
        using var server = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, [FrameworkServer.Argument, path]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        int[] ports = [.. (await server.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("The server did not start.")).Split(' ').Select(static p => int.Parse(p, CultureInfo.InvariantCulture))];
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.ClearProviders();
        FrameworkServer.AddPools(builder.Services);
        using IHost host = builder.Build();
        await host.StartAsync();
        List<(string Name, HttpClient Client)> transports =
        [
            (Tcp, NewClient(new SocketsHttpHandler { UseProxy = false }, ports[0])),
            ("Unix socket", NewClient(new SocketsHttpHandler { UseProxy = false, ConnectCallback = (_, cancellationToken) => ConnectAsync(path, cancellationToken) }, ports[0])),
            .. FrameworkServer.Fabrics.Select((f, i) => (f, NewClient(new SocketsHttpHandler().UseRma(host.Services.GetRequiredKeyedService<RmaConnections>(f)), ports[1 + i]))),
        ];
        Table table = MarkdownTable.Of(["what", "connections", .. transports.Select(static t => t.Name), .. transports.Skip(1).Select(static t => $"{t.Name} to TCP")]);
        foreach ((string what, long length, int connections) in Cases)
        {
            double[][] times = [.. transports.Select(static _ => new double[Rounds])];
            for (int round = -1; round < Rounds; round++)
            {
                for (int turn = 0; turn < transports.Count; turn++)
                {
                    int which = (turn + round + 1) % transports.Count;
                    double time = await RunAsync(transports[which].Client, length, connections);
                    if (round >= 0)
                        times[which][round] = time;
                }
            }
            table.AddRow([
                what, connections.ToString(CultureInfo.InvariantCulture),
                .. times.Select(t => length <= 64 ? $"{Text(Median(t))} µs" : $"{Text(length / Median(t) * 1e6 / (1 << 30))} GiB/s"),
                .. times.Skip(1).Select(t => Text(Median([.. t.Zip(times[0], (own, tcp) => length <= 64 ? own / tcp : tcp / own)]))),
            ]);
        }
        AnsiConsole.Profile.Width = 250;
        AnsiConsole.Write(table);
        transports.ForEach(static t => t.Client.Dispose());
        await host.StopAsync();
        server.StandardInput.Close();
        await server.WaitForExitAsync();
        return server.ExitCode;
    }

    /// <summary>Sends requests for the time of a slice.</summary>
    /// <returns>The microseconds from one answer to the next, of all connections together.</returns>
    private static async Task<double> RunAsync(HttpClient client, long length, int connections)
    {
        var clock = Stopwatch.StartNew();
        int[] counts = await Task.WhenAll(Enumerable.Range(0, connections).Select(_ => Task.Run(async () =>
        {
            byte[] buffer = new byte[64 << 10];
            int count = 0;
            do
            {
                await using Stream body = await client.GetStreamAsync($"/{length}");
                long left = length;
                while (await body.ReadAsync(buffer) is > 0 and var read)
                    left -= read;
                if (left != 0)
                    throw new InvalidOperationException($"{left} bytes of {length} did not come.");
                count++;
            }
            while (clock.Elapsed < Slice);
            return count;
        })));
        return clock.Elapsed.TotalMicroseconds / counts.Sum();
    }

    private static HttpClient NewClient(SocketsHttpHandler handler, int port) => new(handler) { BaseAddress = new Uri($"http://127.0.0.1:{port}") };

    private static async ValueTask<Stream> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static double Median(double[] values) => values.Order().ElementAt(values.Length / 2);

    private static string Text(double value) => value.ToString(value >= 100 ? "0" : value >= 10 ? "0.0" : "0.00", CultureInfo.InvariantCulture);
}
