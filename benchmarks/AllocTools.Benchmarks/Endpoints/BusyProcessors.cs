namespace AllocTools.Benchmarks.Endpoints;

/// <summary>Runs one computing process per processor, with which both sides of a row have to share the processors.</summary>
internal sealed class BusyProcessors : IDisposable
{
    /// <summary>The only argument by which this program becomes one of the processes.</summary>
    public const string Argument = "burn";

    private static ulong _last;

    private readonly ChildProcess[] _processes =
        [.. Enumerable.Range(0, Environment.ProcessorCount).Select(_ => new ChildProcess(Environment.ProcessPath!, [Argument]))];

    /// <summary>Computes until standard input ends.</summary>
    public static int Burn()
    {
        Thread burning = new(() =>
        {
            for (ulong x = 1; ; x *= 3)
                Volatile.Write(ref _last, x);
        })
        { IsBackground = true };
        burning.Start();
        Console.In.ReadToEnd();
        return 0;
    }

    public void Dispose()
    {
        foreach (ChildProcess process in _processes)
            process.Dispose();
    }
}
