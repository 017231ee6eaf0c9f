namespace AllocTools.Pooling;

/// <summary>Counts the bytes that are being registered or given back: they can't be used, and are not free yet.</summary>
/// <remarks>
/// A request that finds no room meanwhile need not be refused: a registration may fail, or make more blocks than it was
/// asked for, and what is given back comes free. It waits until one has ended and looks again. No thread waits here while
/// memory of its own is in transit, so that no two wait for each other. No wait is endless, because a call into the
/// provider may hang.
/// The order of steps makes sure that nothing is overlooked: memory enters before it leaves its shelf, and leaves after
/// it was put on one or its bytes were released; a thread that looks for room reads <see cref="Ended"/> first.
/// </remarks>
internal sealed class MemoryInTransit(Budget budget)
{
    /// <summary>How long a request waits, in milliseconds.</summary>
    public const int LongestWait = 2000;

    // Waited on, so no Lock.
    private readonly object _gate = new();
    private long _bytes;
    private long _ended;

    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>How often something ended.</summary>
    public long Ended => Volatile.Read(ref _ended);

    /// <summary>Reserves bytes for what is to be registered; they are in transit until <see cref="Leave"/>.</summary>
    public long Reserve(long preferred, long minimum, long granule)
    {
        lock (_gate)
        {
            long bytes = budget.ReserveUpTo(preferred, minimum, granule);
            _bytes += bytes;
            return bytes;
        }
    }

    /// <summary>Memory that was reserved before is about to be given back.</summary>
    public void Enter(long bytes)
    {
        lock (_gate)
            _bytes += bytes;
    }

    /// <summary>The memory is registered and visible to others, or it is gone.</summary>
    public void Leave(long bytes)
    {
        lock (_gate)
        {
            _bytes -= bytes;
            _ended++;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Waits until more than so many have ended.</summary>
    /// <param name="ended">So many.</param>
    /// <param name="until">And no longer than this, in milliseconds of <see cref="Environment.TickCount64"/>.</param>
    /// <returns>False where no more have, and nothing is in transit or the time is up.</returns>
    public bool WaitBeyond(long ended, long until)
    {
        lock (_gate)
        {
            while (_ended == ended)
            {
                long left = until - Environment.TickCount64;
                if (_bytes == 0 || left <= 0)
                    return false;
                Monitor.Wait(_gate, (int)Math.Min(left, LongestWait));
            }
            return true;
        }
    }
}
