using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>
/// Compares MpiProvider with the same loops in C, by alternating pairs of jobs of two ranks, with both implementations.
/// </summary>
internal static partial class MpiTimes
{
    private static readonly (string Name, string Program, string[] Mpirun)[] Implementations =
    [
        ("Open MPI", "endpoint-openmpi", ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-n", "2"]),
        ("MPICH", "endpoint-mpich", ["mpirun.mpich", "-n", "2"]),
        // Debian's MPICH communicates through UCX. Open MPI 4 has no dynamic windows over TCP.
        ("MPICH over TCP", "endpoint-mpich", ["env", "UCX_TLS=tcp,self", "mpirun.mpich", "-n", "2"]),
    ];

    /// <summary>The duration of a run, if an operation takes neither very long nor very short.</summary>
    private static readonly TimeSpan RunTime = TimeSpan.FromSeconds(1);

    public static int Print(bool isQuick)
    {
        int pairs = isQuick ? 3 : 7;
        int[] sizes = isQuick ? [64, 1 << 20] : [64, 4096, 64 << 10, 1 << 20];
        Console.WriteLine("| loop | bytes | MPI | own | against | ratio | allocated |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        foreach ((string name, string program, string[] mpirun) in Implementations)
        {
            string own = Environment.ProcessPath!;
            string inC = Path.Combine(AppContext.BaseDirectory, program);
            foreach (string loop in new[] { "write", "read", "ping-pong" })
            {
                foreach (int size in sizes)
                {
                    Compare(name, loop, size, pairs, [.. mpirun, own, MpiRankLoop.Argument, loop, $"{size}"], [.. mpirun, inC, loop, $"{size}"]);
                }
            }
            Compare(name, "rent + return against attach + detach", 64 << 10, pairs, [.. mpirun, own, MpiRankLoop.Argument, "rent", $"{64 << 10}"], [.. mpirun, own, MpiRankLoop.Argument, "register", $"{64 << 10}"]);
        }
        return 0;
    }

    private static void Compare(string name, string loop, int size, int pairs, string[] own, string[] other)
    {
        // Operations that take milliseconds, such as a put of 1 MiB in MPICH between processes of one host, run less often.
        string count = $"{Math.Clamp((int)(RunTime.TotalNanoseconds / Run([.. other, "50"]).Time), 50, 1_000_000)}";
        var results = new (double Own, double Other, double Allocated)[pairs];
        for (int i = 0; i < pairs; i++)
        {
            (double time, double allocated) = Run([.. own, count]);
            results[i] = (time, Run([.. other, count]).Time, allocated);
        }
        (double Own, double Other, double Allocated) median = results.OrderBy(static r => r.Own / r.Other).ElementAt(pairs / 2);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {loop} | {size} | {name} | {median.Own:0} ns | {median.Other:0} ns | {median.Own / median.Other:0.00} | {results.Max(static r => r.Allocated):0.#} B |"));
    }

    private static (double Time, double Allocated) Run(string[] command)
    {
        using Process process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, UseShellExecute = false })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        // Open MPI gives ranks a terminal, for which .NET prints control characters first.
        Match result = Result().Match(output);
        return process.ExitCode == 0 && result.Success
            ? (double.Parse(result.Groups[1].ValueSpan, CultureInfo.InvariantCulture), double.Parse(result.Groups[2].ValueSpan, CultureInfo.InvariantCulture))
            : throw new InvalidOperationException($"{string.Join(' ', command)} ended with {process.ExitCode} and said '{output}'.");
    }

    [GeneratedRegex(@"time=([\d.]+) allocated=([\d.]+)")]
    private static partial Regex Result();
}
