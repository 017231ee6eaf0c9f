using System.Diagnostics;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>One side of a comparison.</summary>
internal interface IWorkload : IDisposable
{
    /// <summary>The bytes allocated so far by the process or thread that does the work.</summary>
    long AllocatedBytes => GC.GetAllocatedBytesForCurrentThread();

    /// <summary>The 99th percentile of an operation in the last run, in ns; 0 if it was not measured.</summary>
    double Tail => 0;

    /// <summary>
    /// Performs a number of rents and returns, or of the other operations that are compared. It is called repeatedly
    /// on one thread.
    /// </summary>
    void Run(int operations);

    /// <summary>Performs a number of operations, and returns their time.</summary>
    TimeSpan Time(int operations)
    {
        long started = Stopwatch.GetTimestamp();
        Run(operations);
        return Stopwatch.GetElapsedTime(started);
    }
}
