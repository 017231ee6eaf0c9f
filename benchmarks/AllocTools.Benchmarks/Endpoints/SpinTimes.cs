using System.Diagnostics;
using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Regions;
using Spectre.Console;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>
/// Measures the cost of <see cref="RmaEndpointOptions.SpinTime"/> in processor time, and its benefit, for occasional
/// writes between two endpoints of this process.
/// </summary>
internal static class SpinTimes
{
    private const int Writes = 300;
    private const int Length = 64;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    public static async Task<int> PrintAsync()
    {
        Table table = MarkdownTable.Of("provider", "SpinTime", "processor time of both endpoints, % of a core", "median of a write, µs");
        foreach (string provider in new[] { "tcp;ofi_rxm", "shm" })
        {
            foreach (double milliseconds in new[] { 0, 0.05, 0.5, 5, 50 })
            {
                (double share, double median) = await MeasureAsync(provider, TimeSpan.FromMilliseconds(milliseconds));
                table.AddRow(
                    provider,
                    milliseconds < 1 ? string.Create(CultureInfo.InvariantCulture, $"{milliseconds * 1000} µs") : string.Create(CultureInfo.InvariantCulture, $"{milliseconds} ms"),
                    share.ToString("0.0", CultureInfo.InvariantCulture),
                    median.ToString("0", CultureInfo.InvariantCulture));
            }
        }
        AnsiConsole.WriteLine($"{Environment.ProcessorCount} processors, .NET {Environment.Version}; {Writes} writes of {Length} B, one each {Pause.TotalMilliseconds} ms");
        AnsiConsole.Profile.Width = 200;
        AnsiConsole.Write(table);
        return 0;
    }

    private static async Task<(double Share, double Median)> MeasureAsync(string provider, TimeSpan spinTime)
    {
        LibfabricOptions options = new() { Provider = provider, Node = "127.0.0.1", Access = RmaAccess.RemoteWrite };
        options.Endpoint.SpinTime = spinTime;
        using IRmaContext context = new LibfabricProvider(options).Open();
        using RmaMemoryPool<LibfabricProvider> pool = new(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
        using IRmaEndpoint target = context.OpenEndpoint();
        using IRmaEndpoint initiator = context.OpenEndpoint();
        using RmaBuffer there = pool.Rent(Length);
        using RmaBuffer here = pool.Rent(Length);
        using RmaExposure exposure = there.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = initiator.Import(initiator.InsertPeer(target.Address.Span), exposure.Remote);
        double[] times = new double[Writes];
        // The first writes connect, and let the code be compiled.
        await WriteAsync(100);
        using Process self = Process.GetCurrentProcess();
        TimeSpan processorTime = self.TotalProcessorTime;
        long started = Stopwatch.GetTimestamp();
        await WriteAsync(Writes);
        TimeSpan time = Stopwatch.GetElapsedTime(started);
        self.Refresh();
        Array.Sort(times);
        return (100 * (self.TotalProcessorTime - processorTime) / time, times[Writes / 2]);

        async Task WriteAsync(int count)
        {
            using PeriodicTimer timer = new(Pause);
            for (int i = 0; i < count; i++)
            {
                await timer.WaitForNextTickAsync();
                long begun = Stopwatch.GetTimestamp();
                await initiator.WriteAsync(here, remote);
                times[i] = Stopwatch.GetElapsedTime(begun).TotalMicroseconds;
            }
        }
    }
}
