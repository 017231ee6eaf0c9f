namespace AllocTools.Pooling;

/// <summary>Counts the bytes that are being registered or given back: they can't be used, and are not free yet.</summary>
/// <remarks>
/// A request that finds no room meanwhile need not be refused: a registration may fail, or make more blocks than it was
/// asked for, and memory that is given back becomes free. The request waits until one of these has ended, and looks
/// again. No thread waits here while memory of its own is in transit, so that no two wait for each other. No wait is
/// endless, because a call into the provider may hang.
/// The order of steps ensures that nothing is overlooked. Memory enters before it leaves its shelf, and leaves after it
/// was put on one or its bytes were released. A thread that looks for room reads <see cref="Ended"/> first.
/// </remarks>
internal sealed class MemoryInTransit(Budget budget)
{
    /// <summary>How long a request waits, in milliseconds.</summary>
    public const int LongestWait = 2000;

    // A plain object, because Monitor.Wait does not work with a Lock.
    private readonly object _gate = new();
    private long _bytes;
    private long _ended;

    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>How often memory has left.</summary>
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

    /// <summary>Adds memory that was reserved before, and is about to be given back.</summary>
    public void Enter(long bytes)
    {
        lock (_gate)
            _bytes += bytes;
    }

    /// <summary>Removes memory that is now registered and visible to others, or is gone.</summary>
    public void Leave(long bytes)
    {
        lock (_gate)
        {
            _bytes -= bytes;
            _ended++;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Waits until memory has left more often than the given number.</summary>
    /// <param name="ended">The number.</param>
    /// <param name="until">When the wait ends at the latest, in milliseconds of <see cref="Environment.TickCount64"/>.</param>
    /// <returns>False if none has left since, and nothing is in transit or the time is up.</returns>
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
