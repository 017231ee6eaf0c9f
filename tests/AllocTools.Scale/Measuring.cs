using System.Runtime.InteropServices;
using AllocTools.Scale.Scenes;

namespace AllocTools.Scale;

/// <summary>Runs the scenes on machines of growing size.</summary>
internal static partial class Measuring
{
    private const int ThreadCpuTime = 3;
    private const int FewestRounds = 5, MostRounds = 50;

    private static readonly (string Name, string Among, int Most, Func<Machine, IScene> Open)[] Scenes =
    [
        Of<WarmRent>(),
        Of<ShelfRent>(),
        Of<SlabRegistration>(),
        Of<DirectRent>(),
        Of<CallersMemory>(),
        Of<CachedMemory>(),
        Of<Exposing>(),
        Of<ServedWaiters>(),
        Of<CancelledWaiters>(),
        Of<LateWaiters>(),
        Of<Statistics>(),
        Of<PeerInsertion>(),
        Of<PeerLookUp>(),
        Of<Importing>(),
        Of<RemovalUnderOperations>(),
        Of<Losses>(),
        Of<Writing>(),
        Of<WritingAmongOthers>(),
        Of<TimeOuts>(),
        Of<Retries>(),
        Of<SlotWaiters>(),
        Of<Refusal>(),
        Of<Heartbeats>(),
        Of<Notifications>(),
        Of<Joining>(),
        Of<RenewalOfName>(),
        Of<ChangeAmongWatched>(),
    ];

    /// <summary>Measures the scenes.</summary>
    /// <param name="sizes">The sizes of the machines.</param>
    /// <param name="least">The minimum processor time for which each scene is measured.</param>
    /// <param name="only">A part of the names of the scenes to run; null for all.</param>
    /// <param name="report">Called before each scene with the size and its name.</param>
    public static List<Growth> Run(IReadOnlyList<int> sizes, TimeSpan least, string? only = null, Action<int, string>? report = null)
    {
        var chosen = Scenes.Where(s => only is null || s.Name.Contains(only, StringComparison.OrdinalIgnoreCase)).ToList();
        var costs = chosen.ConvertAll(static _ => new List<Cost>());
        foreach (int size in sizes)
        {
            using Machine machine = new(size);
            for (int i = 0; i < chosen.Count; i++)
            {
                int n = Math.Min(size, chosen[i].Most);
                if (costs[i] is [.., { } last] && last.N == n)
                    continue;
                report?.Invoke(n, chosen[i].Name);
                using IScene scene = chosen[i].Open(machine);
                costs[i].Add(Measure(scene, n, least));
            }
        }
        return [.. chosen.Select((s, i) => new Growth(s.Name, s.Among, costs[i]))];
    }

    private static (string Name, string Among, int Most, Func<Machine, IScene> Open) Of<T>()
        where T : INamedScene => (T.Name, T.Among, T.Most, T.Open);

    private static Cost Measure(IScene scene, int n, TimeSpan least)
    {
        // The first round compiles the code.
        scene.Prepare();
        scene.Run();
        List<double> times = [], bytes = [];
        double whole = 0;
        while (times.Count < FewestRounds || (whole < least.TotalNanoseconds && times.Count < MostRounds))
        {
            scene.Prepare();
            long allocated = GC.GetAllocatedBytesForCurrentThread();
            double start = ProcessorTime();
            int operations = scene.Run();
            double time = ProcessorTime() - start;
            bytes.Add((double)(GC.GetAllocatedBytesForCurrentThread() - allocated) / operations);
            times.Add(time / operations);
            whole += time;
        }
        return new Cost(n, Median(times), times.Min(), Median(bytes));
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    /// <summary>
    /// Returns the processor time of the current thread in nanoseconds. It does not include the work of other programs.
    /// </summary>
    private static double ProcessorTime()
    {
        if (GetTime(ThreadCpuTime, out TimeSpec time) != 0)
            throw new InvalidOperationException($"clock_gettime failed with {Marshal.GetLastPInvokeError()}.");
        return (time.Seconds * 1e9) + time.Nanoseconds;
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime", SetLastError = true)]
    private static partial int GetTime(int clock, out TimeSpec time);

    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
