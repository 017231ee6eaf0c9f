using System.Diagnostics;
using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Regions;
using Spectre.Console;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>
/// Measures the processor time and memory of idle endpoints: each has written to the next one, and then none does
/// anything.
/// </summary>
internal static class IdleTimes
{
    private const int Length = 64;

    /// <summary>The goal, as a share of a core.</summary>
    private const double Goal = 0.01;

    private static readonly int[] Counts = [1, 100];

    /// <summary>The time after which pauses have grown to their longest.</summary>
    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Measured = TimeSpan.FromSeconds(20);

    public static async Task<int> PrintAsync(string[] providers)
    {
        Table table = MarkdownTable.Of("provider", "endpoints", "processor time, % of a core", "goal", "", "resident, MiB");
        foreach (string provider in providers.Length == 0 ? ["net", "sockets", "tcp;ofi_rxm", "shm"] : providers)
        {
            foreach (int count in Counts)
            {
                (double share, long resident) = await MeasureAsync(provider, count);
                table.AddRow(
                    provider,
                    count.ToString(CultureInfo.InvariantCulture),
                    Percent(share),
                    $"≤ {Percent(Goal)}",
                    share <= Goal ? "holds" : "misses",
                    (resident >> 20).ToString(CultureInfo.InvariantCulture));
            }
        }
        AnsiConsole.WriteLine($"{Environment.ProcessorCount} processors, .NET {Environment.Version}; idle for {Settling.TotalSeconds} s, measured for {Measured.TotalSeconds} s");
        AnsiConsole.Profile.Width = 200;
        AnsiConsole.Write(table);
        return 0;
    }

    private static string Percent(double share) => (100 * share).ToString("0.00", CultureInfo.InvariantCulture);

    private static async Task<(double Share, long Resident)> MeasureAsync(string provider, int count)
    {
        LibfabricOptions options = new() { Provider = provider, Node = "127.0.0.1", Access = RmaAccess.RemoteWrite };
        using IRmaContext context = new LibfabricProvider(options).Open();
        using RmaMemoryPool<LibfabricProvider> pool = new(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
        using RmaBuffer there = pool.Rent(Length);
        using RmaBuffer here = pool.Rent(Length);
        using RmaExposure exposure = there.Expose(RmaAccess.RemoteWrite);
        IRmaEndpoint[] endpoints = [.. Enumerable.Range(0, count).Select(_ => context.OpenEndpoint())];
        try
        {
            for (int i = 0; i < count; i++)
            {
                IRmaEndpoint next = endpoints[(i + 1) % count];
                using RemoteRegion remote = endpoints[i].Import(endpoints[i].InsertPeer(next.Address.Span), exposure.Remote);
                await endpoints[i].WriteAsync(here, remote);
            }
            await Task.Delay(Settling);
            TimeSpan before = Environment.CpuUsage.TotalTime;
            long started = Stopwatch.GetTimestamp();
            await Task.Delay(Measured);
            return ((Environment.CpuUsage.TotalTime - before) / Stopwatch.GetElapsedTime(started), Environment.WorkingSet);
        }
        finally
        {
            foreach (IRmaEndpoint endpoint in endpoints)
                endpoint.Dispose();
        }
    }
}
