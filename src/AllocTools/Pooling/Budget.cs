namespace AllocTools.Pooling;

/// <summary>The hard cap on registered bytes. Bytes are reserved before memory is asked for, and released after it is gone.</summary>
/// <remarks>
/// Invariant: 0 ≤ Reserved ≤ Limit, except for a while after the limit was lowered; and Reserved = Σ slabs + Σ direct
/// regions + Σ user regions + Σ cached registrations + Σ exposures of their own + what is being registered.
/// </remarks>
internal sealed class Budget(long limit)
{
    private long _limit = limit;
    private long _reserved;

    /// <summary>The cap. It may be changed at any time; bytes that are reserved stay reserved.</summary>
    public long Limit
    {
        get => Volatile.Read(ref _limit);
        set => Volatile.Write(ref _limit, value);
    }

    /// <summary>The bytes reserved beyond the limit, after it was lowered.</summary>
    public long Excess => Math.Max(0, Reserved - Limit);

    public long Reserved => Volatile.Read(ref _reserved);

    public bool TryReserve(long bytes) => ReserveUpTo(bytes, bytes, 1) != 0;

    /// <summary>Reserves as much as is left, between the two lengths.</summary>
    /// <returns>The reserved bytes, a multiple of the granule; or 0.</returns>
    public long ReserveUpTo(long preferred, long minimum, long granule)
    {
        long seen = Volatile.Read(ref _reserved);
        while (true)
        {
            long bytes = Math.Min(preferred, Limit - seen);
            bytes -= bytes % granule;
            if (bytes < minimum)
                return 0;
            long before = Interlocked.CompareExchange(ref _reserved, seen + bytes, seen);
            if (before == seen)
                return bytes;
            seen = before;
        }
    }

    public void Release(long bytes) => Interlocked.Add(ref _reserved, -bytes);
}
