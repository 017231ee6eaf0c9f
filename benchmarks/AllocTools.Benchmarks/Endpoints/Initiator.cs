using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>
/// The initiator's part of the conversation: "run N" is answered with nanoseconds, allocated bytes and
/// <see cref="Latencies.Tail"/>.
/// </summary>
internal static class Initiator
{
    /// <param name="loop">Performs a number of operations.</param>
    /// <param name="latencies">The latencies that the loop records, if it does.</param>
    /// <param name="allocated">Returns the bytes that the last run allocated; null for all that this process has
    /// allocated.</param>
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
