using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>The initiator's part of the conversation: "run N" is answered with nanoseconds, bytes allocated and <see cref="Latencies.Tail"/>.</summary>
internal static class Initiator
{
    /// <param name="loop">Does so many operations.</param>
    /// <param name="latencies">Where the loop records them, if it does.</param>
    /// <param name="allocated">What the last run allocated; null: all that this process has.</param>
    public static int Run(Func<int, Task> loop, Latencies latencies, Func<long>? allocated = null)
    {
        while (Console.ReadLine() is string line)
        {
            int operations = int.Parse(line.AsSpan("run ".Length), CultureInfo.InvariantCulture);
            long before = GC.GetTotalAllocatedBytes(precise: true);
            long started = Stopwatch.GetTimestamp();
            loop(operations).GetAwaiter().GetResult();
            TimeSpan time = Stopwatch.GetElapsedTime(started);
            long bytes = allocated?.Invoke() ?? GC.GetTotalAllocatedBytes(precise: true) - before;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalNanoseconds} {bytes} {latencies.Tail}"));
        }
        return 0;
    }
}
