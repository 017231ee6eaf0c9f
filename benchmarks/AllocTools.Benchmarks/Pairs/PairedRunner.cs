using System.Diagnostics;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Runs both sides of a comparison alternately, so that other load of the machine affects both.</summary>
internal sealed class PairedRunner(int pairs, TimeSpan slice)
{
    public PairedResult Run(Comparison comparison)
    {
        using IDisposable? beside = comparison.Beside?.Invoke();
        using IWorkload own = comparison.Own();
        using IWorkload peer = comparison.Peer();
        using IWorkload? overhead = comparison.Overhead?.Invoke();
        int ownOperations = Calibrate(own);
        int peerOperations = Calibrate(peer);
        int overheadOperations = overhead is null ? 0 : Calibrate(overhead);
        double[] ownTimes = new double[pairs];
        double[] peerTimes = new double[pairs];
        double[] ownTails = new double[pairs];
        double[] peerTails = new double[pairs];
        long allocated = own.AllocatedBytes;
        own.Run(ownOperations);
        allocated = own.AllocatedBytes - allocated;
        for (int i = 0; i < pairs; i++)
        {
            // The side that goes first alternates, too.
            if (i % 2 == 0)
                ownTimes[i] = Time(own, ownOperations);
            peerTimes[i] = Time(peer, peerOperations);
            if (i % 2 != 0)
                ownTimes[i] = Time(own, ownOperations);
            ownTails[i] = own.Tail;
            peerTails[i] = peer.Tail;
            if (overhead is null)
                continue;
            double besides = Time(overhead, overheadOperations);
            ownTimes[i] = Math.Max(0, ownTimes[i] - besides);
            // A result that is faster than the overhead alone is noise, and must not make the ratio infinite.
            peerTimes[i] = Math.Max(1, peerTimes[i] - besides);
        }
        return new PairedResult(ownTimes, peerTimes)
        {
            OwnTail = PairedResult.Median(ownTails),
            PeerTail = PairedResult.Median(peerTails),
            OwnBytes = (double)allocated / ownOperations,
        };
    }

    /// <summary>Warms up until the code is optimised, and determines how many operations fill a slice.</summary>
    private int Calibrate(IWorkload workload)
    {
        long operations = 1;
        long started = Stopwatch.GetTimestamp();
        while (true)
        {
            double nanoseconds = Time(workload, (int)operations);
            bool isWarm = Stopwatch.GetElapsedTime(started) > TimeSpan.FromSeconds(0.5);
            long fitting = Math.Clamp((long)(slice.TotalNanoseconds / Math.Max(nanoseconds, 0.1)), 1, 1 << 28);
            if (isWarm)
                return (int)fitting;
            operations = Math.Min(operations * 2, fitting);
        }
    }

    private static double Time(IWorkload workload, int operations) => workload.Time(operations).TotalNanoseconds / operations;
}
