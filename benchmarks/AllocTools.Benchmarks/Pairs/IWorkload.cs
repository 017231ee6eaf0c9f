using System.Diagnostics;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>One side of a comparison.</summary>
internal interface IWorkload : IDisposable
{
    /// <summary>Bytes allocated so far, by whoever does the work.</summary>
    long AllocatedBytes => GC.GetAllocatedBytesForCurrentThread();

    /// <summary>The 99th percentile of an operation in the last run, ns; 0: not measured.</summary>
    double Tail => 0;

    /// <summary>Does so many rents and returns (or what is compared). Called again and again on one thread.</summary>
    void Run(int operations);

    /// <summary>Does so many, and says how long they took.</summary>
    TimeSpan Time(int operations)
    {
        long started = Stopwatch.GetTimestamp();
        Run(operations);
        return Stopwatch.GetElapsedTime(started);
    }
}
