using AllocTools.Interop;

namespace AllocTools.HostMemory;

/// <summary>Counts how often this library has locked each page of the process.</summary>
/// <remarks>
/// mlock(2) does not nest: one munlock undoes any number of locks. Therefore pages are counted, as segments of equal
/// count, and the system is called only when a count leaves or reaches 0. The system is called outside the lock;
/// meanwhile the segment is marked busy and other threads that need its pages wait for it. Invariant: segments are
/// sorted, do not overlap, and have a count of 1 or more or are busy. The class is static because page locks belong to
/// the process, whichever code creates them.
/// </remarks>
internal static class PageLockTable
{
    private static readonly object Gate = new();
    private static readonly List<Segment> Segments = [];

    /// <summary>Locks the pages that contain the bytes.</summary>
    /// <returns>0, or the system's error number; in that case nothing is locked.</returns>
    public static int Lock(nint address, long length) => Change(address, length, +1);

    /// <summary>Undoes one <see cref="Lock"/> of the same bytes.</summary>
    /// <returns>0, or the system's error number.</returns>
    public static int Unlock(nint address, long length) => Change(address, length, -1);

    /// <summary>The size of all currently locked pages, in bytes.</summary>
    public static long LockedBytes
    {
        get
        {
            lock (Gate)
                return Segments.Where(s => s.Count > 0).Sum(s => (long)(s.End - s.Start));
        }
    }

    private static int Change(nint address, long length, int step)
    {
        nuint page = (nuint)Environment.SystemPageSize;
        nuint start = (nuint)address / page * page;
        nuint end = ((nuint)address + (nuint)length + page - 1) / page * page;
        List<Segment> toAsk;
        lock (Gate)
        {
            while (Segments.Exists(s => s.IsBusy && s.Start < end && start < s.End))
                Monitor.Wait(Gate);
            List<Segment> touched = Cover_NeedsLock(start, end);
            foreach (Segment segment in touched)
                segment.Count += step;
            toAsk = touched.FindAll(s => s.Count == (step > 0 ? 1 : 0));
            toAsk.ForEach(s => s.IsBusy = true);
        }
        int error = 0;
        int done = 0;
        for (; done < toAsk.Count && error == 0; done++)
            error = Ask(toAsk[done], step);
        if (error != 0 && step > 0)
        {
            // This includes the segment that failed: mlock proceeds as far as it can, and leaves those pages locked.
            for (int i = 0; i < done; i++)
                _ = Ask(toAsk[i], -1);
        }
        lock (Gate)
        {
            // The current segments are used, because other threads may have split them meanwhile.
            if (error != 0 && step > 0)
                Cover_NeedsLock(start, end).ForEach(s => s.Count -= step);
            toAsk.ForEach(s => s.IsBusy = false);
            Segments.RemoveAll(s => s.Count == 0 && !s.IsBusy);
            Monitor.PulseAll(Gate);
        }
        return error;
    }

    private static int Ask(Segment segment, int step) => step > 0
        ? SystemPages.Lock((nint)segment.Start, segment.End - segment.Start)
        : SystemPages.Unlock((nint)segment.Start, segment.End - segment.Start);

    /// <summary>Makes segments cover the range exactly, splitting those at its ends and filling the gaps with a count of 0.</summary>
    private static List<Segment> Cover_NeedsLock(nuint start, nuint end)
    {
        Split_NeedsLock(start);
        Split_NeedsLock(end);
        List<Segment> covering = [];
        int at = FirstEndingAfter_NeedsLock(start);
        nuint position = start;
        while (position < end)
        {
            if (at == Segments.Count || Segments[at].Start > position)
            {
                nuint gapEnd = at == Segments.Count ? end : nuint.Min(end, Segments[at].Start);
                Segments.Insert(at, new Segment { Start = position, End = gapEnd });
            }
            covering.Add(Segments[at]);
            position = Segments[at].End;
            at++;
        }
        return covering;
    }

    private static void Split_NeedsLock(nuint position)
    {
        int at = FirstEndingAfter_NeedsLock(position);
        if (at == Segments.Count || Segments[at].Start >= position)
            return;
        Segment first = Segments[at];
        Segments.Insert(at + 1, new Segment { Start = position, End = first.End, Count = first.Count });
        first.End = position;
    }

    private static int FirstEndingAfter_NeedsLock(nuint position)
    {
        int low = 0;
        int high = Segments.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (Segments[middle].End > position)
                high = middle;
            else
                low = middle + 1;
        }
        return low;
    }

    private sealed class Segment
    {
        public nuint Start { get; init; }

        public nuint End { get; set; }

        public int Count { get; set; }

        public bool IsBusy { get; set; }
    }
}
