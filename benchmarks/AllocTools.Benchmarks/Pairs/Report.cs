using System.Globalization;
using AllocTools.Benchmarks.Connections;
using AllocTools.Benchmarks.Endpoints;
using Spectre.Console;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>All comparisons, as one table of ratios.</summary>
internal static class Report
{
    private const int Direct = 4 << 20;

    public static int Print(bool isQuick, string only) =>
        Print(isQuick, Comparisons(isQuick).Where(c => only.Split('|').Any(text => $"{c.Name} against {c.PeerName}".Contains(text, StringComparison.Ordinal))));

    /// <summary>
    /// Prints the comparisons of one fabric. It may be in an emulated machine, where the first row bears the cost of
    /// all code, so the first row is run twice.
    /// </summary>
    public static int Print(FabricRegistrations fabric) => Print(isQuick: false, fabric.Comparisons(), warmUp: fabric.Comparisons().First());

    private static int Print(bool isQuick, IEnumerable<Comparison> comparisons, Comparison? warmUp = null)
    {
        PairedRunner runner = new(pairs: 21, TimeSpan.FromMilliseconds(isQuick ? 20 : 100));
        if (warmUp is not null)
            runner.Run(warmUp);
        AnsiConsole.WriteLine($"{Environment.ProcessorCount} processors, .NET {Environment.Version}, {(isQuick ? "quick: " : "")}21 alternating pairs each; ratio: own time / peer's, median and its 95 % interval");
        Table table = MarkdownTable.Of("what", "against", "own ns", "peer ns", "ratio", "95 % interval", "goal", "", "own B", "own p99", "peer p99");
        foreach (Comparison comparison in comparisons)
        {
            PairedResult result = runner.Run(comparison);
            (double low, double high) = result.Interval;
            table.AddRow(
                comparison.Name,
                comparison.PeerName,
                Number(result.Own),
                Number(result.Peer),
                Ratio(result.Ratio),
                $"{Ratio(low)} to {Ratio(high)}",
                comparison.Goal is double goal ? $"≤ {Ratio(goal)}" : comparison.DifferenceGoal is double most ? $"≤ +{Number(most)} ns" : "",
                (comparison.Goal is null && comparison.DifferenceGoal is null) ? "" : IsMet(comparison, result) ? "holds" : "misses",
                Number(result.OwnBytes),
                Tail(result.OwnTail),
                Tail(result.PeerTail));
            Console.Error.WriteLine($"{comparison.Name} against {comparison.PeerName}: {Number(result.Own)} / {Number(result.Peer)} ns, {Ratio(result.Ratio)}");
        }
        AnsiConsole.Profile.Width = 200;
        AnsiConsole.Write(table);
        return 0;
    }

    private static IEnumerable<Comparison> Comparisons(bool isQuick)
    {
        int[] sizes = isQuick ? [1 << 10, 64 << 10, 1 << 20] : [1 << 10, 16 << 10, 64 << 10, 1 << 20];
        foreach (int size in sizes)
            yield return new($"rent + return, {ByteSize.Text(size)}", () => OneInFlight.Own(size), "ArrayPool.Shared", () => OneInFlight.Shared(size), 0.6);
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "ArrayPool.Create()", () => OneInFlight.Configured(64 << 10));
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "MemoryPool.Shared", () => OneInFlight.MemoryPoolShared(64 << 10));
        foreach (int size in (int[])[4 << 10, 64 << 10])
            yield return new($"rent + dispose as MemoryPool, {ByteSize.Text(size)}", () => OneInFlight.AsMemoryPool(size), "MemoryPool.Shared", () => OneInFlight.MemoryPoolShared(size));
        yield return new("1 MiB forwarded from a pipe's blocks", ForwardedPipe.FromWhereItIs, "copied into a rented buffer", ForwardedPipe.ByACopy);
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "RecyclableMemoryStream", () => OneInFlight.RecyclableStreams(64 << 10));
        foreach (int size in sizes)
            yield return new($"64 in flight, {ByteSize.Text(size)}", () => ManyInFlight.Own(size), "ArrayPool.Shared", () => ManyInFlight.Shared(size), 0.25);
        foreach (int size in sizes)
            yield return new($"two threads, {ByteSize.Text(size)}", () => TwoThreads.Of(OneInFlight.Own(size)), "ArrayPool.Shared", () => TwoThreads.Of(OneInFlight.Shared(size)));
        foreach (int size in sizes)
            yield return new($"returned by another thread, {ByteSize.Text(size)}", () => OtherThreadReturns.Own(size), "ArrayPool.Shared", () => OtherThreadReturns.Shared(size), 0.25) { Overhead = OtherThreadReturns.RingAlone };
        foreach (int size in sizes)
            yield return new($"returned by another thread, {ByteSize.Text(size)}", () => OtherThreadReturns.Own(size), "ConcurrentQueue as a pool", () => OtherThreadReturns.Queued(size), 0.8) { Overhead = OtherThreadReturns.RingAlone };
        yield return new("returned by another thread, 64 KiB", () => OtherThreadReturns.Own(64 << 10), "ArrayPool.Create()", () => OtherThreadReturns.Configured(64 << 10));
        yield return new("returned by another thread, 64 KiB", () => OtherThreadReturns.Own(64 << 10), "the ring alone", OtherThreadReturns.RingAlone);
        yield return new("idle blocks alone: a magazine a thread", IdleBlocks.OfThreads, "a stack a core", IdleBlocks.OfCores);
        yield return new("idle blocks alone, two threads: a magazine a thread", () => TwoThreads.Of(IdleBlocks.OfThreads()), "a stack a core", () => TwoThreads.Of(IdleBlocks.OfCores()));
        yield return new("a byte written by buffer.Span", SpanAccess.Checked, "a span without the check", SpanAccess.Unchecked) { DifferenceGoal = 1 };
        yield return new("1,000,000 buffers out", () => LiveBuffers.Out(1_000_000), "10 buffers out", () => LiveBuffers.Out(10), 1.2);
        if (File.Exists(LoadedBuild.WithoutCounters))
        {
            yield return new("rent + return, 64 KiB", () => LoadedBuild.OneInFlight(LoadedBuild.Own, 64 << 10), "a build without counters", () => LoadedBuild.OneInFlight(LoadedBuild.WithoutCounters, 64 << 10)) { DifferenceGoal = 0.5 };
            yield return new("rent + return, 64 KiB", () => LoadedBuild.OneInFlight(LoadedBuild.Own, 64 << 10), "the same build (counters: the noise)", () => LoadedBuild.OneInFlight(LoadedBuild.Own, 64 << 10));
        }
        yield return new("rent + return, 4 MiB in a class", () => OneInFlight.OwnClass(Direct), "ArrayPool.Shared", () => OneInFlight.Shared(Direct), 0.6);
        yield return new("direct region again, 4 MiB", () => OneInFlight.Own(Direct), "a pooled rent", () => OneInFlight.Own(64 << 10), 5);
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "mlock + munlock each time", () => RegisterEachTime.OnHostMemory(64 << 10), 0.001);
        yield return new("rent + return, 1 MiB", () => OneInFlight.Own(1 << 20), "mlock + munlock each time", () => RegisterEachTime.OnHostMemory(1 << 20));
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "fi_mr_reg + close each time, tcp", () => RegisterEachTime.OnLibfabricTcp(64 << 10));
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "ucp_mem_map + unmap each time, ucx", () => RegisterEachTime.OnUcxTcp(64 << 10));
        foreach (int size in new[] { 4 << 10, 64 << 10, 1 << 20 })
            yield return new($"own array by the registration cache, {ByteSize.Text(size)}", () => CachedMemory.Cached(size), "pool.Register, which locks it each time", () => CachedMemory.Cold(size), 0.5);
        yield return new("own array by the registration cache, 64 KiB", () => CachedMemory.CachedOnTcp(64 << 10), "pool.Register each time, tcp", () => CachedMemory.ColdOnTcp(64 << 10));
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "two calls of nothing", Floors.TwoCalls);
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "a thread-static increment", Floors.ThreadStaticIncrement);
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "one compare-and-swap", Floors.CompareAndSwap);
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "one exchange of a reference", Floors.Exchange);
        yield return new("rent + return, 64 KiB", () => OneInFlight.Own(64 << 10), "one P/Invoke", Floors.NativeCall);
        foreach (Comparison comparison in CollectionRows.All().Concat(CellReads.All()).Concat(IntegrityRows.All(isQuick)))
            yield return comparison;
        foreach (Comparison comparison in EndpointComparisons.AgainstC(isQuick).Concat(EndpointComparisons.UcxAgainstC(isQuick)).Concat(EndpointComparisons.AgainstSockets(isQuick)).Concat(ConnectionComparisons.All(isQuick)))
            yield return comparison;
    }

    private static bool IsMet(Comparison comparison, PairedResult result) =>
        !(result.Ratio > comparison.Goal) && !(result.Difference > comparison.DifferenceGoal);

    private static string Tail(double value) => value == 0 ? "" : Number(value);

    private static string Number(double value) => value.ToString(value < 100 ? "0.0" : "#,0", CultureInfo.InvariantCulture);

    private static string Ratio(double value) => value.ToString(value < 0.01 ? "0.00000" : "0.00", CultureInfo.InvariantCulture);
}
