namespace AllocTools.Benchmarks.Pairs;

/// <summary>Runs the same on two threads at a time; an operation is one of each thread.</summary>
internal static class TwoThreads
{
    public static IWorkload Of(IWorkload workload)
    {
        Barrier barrier = new(2);
        int operations = 0;
        bool ends = false;
        Thread second = new(() =>
        {
            while (true)
            {
                barrier.SignalAndWait();
                if (Volatile.Read(ref ends))
                    return;
                workload.Run(Volatile.Read(ref operations));
                barrier.SignalAndWait();
            }
        })
        { IsBackground = true };
        second.Start();
        return new Workload(
            count =>
            {
                Volatile.Write(ref operations, count);
                barrier.SignalAndWait();
                workload.Run(count);
                barrier.SignalAndWait();
            },
            () =>
            {
                Volatile.Write(ref ends, true);
                barrier.SignalAndWait();
                second.Join();
                barrier.Dispose();
                workload.Dispose();
            });
    }
}
