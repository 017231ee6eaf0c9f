namespace AllocTools.Pooling;

/// <summary>Keeps a pool's memory to its cap: reserves bytes, and gives back idle memory for them.</summary>
internal sealed class PoolMemory(PoolEngine engine, SizeClass[] classes, long limit)
{
    /// <summary>The magazines of all threads hold this part of the cap at the most.</summary>
    private const int MagazineShare = 8;

    // The cap was changed, and what is over it may not be given back yet.
    private int _overLimit;

    /// <summary>What is registered.</summary>
    public Budget Budget { get; } = new(limit);

    /// <summary>What the magazines of all threads may hold.</summary>
    public Budget MagazineBudget { get; } = new(limit / MagazineShare);

    /// <summary>Reserves bytes for memory that is to be registered; at the cap idle memory elsewhere is given back first.</summary>
    /// <returns>Bytes between the two, or 0.</returns>
    public long Reserve(long preferred, long minimum, SlabOwner? forOwner, bool mayReclaim = true)
    {
        // Whatever is given back, it does not fit.
        if (minimum > Budget.Limit)
            return 0;
        long granule = preferred == minimum ? 1 : engine.Slabs.PageSize;
        long bytes = Budget.ReserveUpTo(preferred, minimum, granule);
        while (bytes == 0)
        {
            long missing = minimum - (Budget.Limit - Budget.Reserved);
            if (missing > 0 && (!mayReclaim || Reclaim(missing, forOwner, gatherFirst: true) == 0))
                return 0;
            bytes = Budget.ReserveUpTo(preferred, minimum, granule);
        }
        return bytes;
    }

    /// <summary>Releases bytes that were reserved: those who wait may find room now, whoever had them and for what.</summary>
    public void Release(long bytes)
    {
        Budget.Release(bytes);
        engine.SignalWaiters();
    }

    /// <summary>
    /// Changes the cap while the pool is in use. Over a lower one idle memory is given back at once, and the rest as it
    /// is returned; until then nothing more is registered. A higher one serves who waits.
    /// </summary>
    public void SetLimit(long bytes)
    {
        Budget.Limit = bytes;
        MagazineBudget.Limit = bytes / MagazineShare;
        Interlocked.Exchange(ref _overLimit, 1);
        engine.UpdateMode();
        // They are made anew, with their shares of the new cap.
        foreach (SizeClass sizeClass in classes)
            sizeClass.Gather(MagazinesToCollect.AllForGood);
        engine.AfterRelease();
    }

    /// <summary>Puts the blocks of all magazines back to their slabs.</summary>
    public void GatherMagazines()
    {
        foreach (SizeClass sizeClass in classes)
            sizeClass.Gather(MagazinesToCollect.All);
    }

    /// <summary>Where the cap was lowered: gives back what is over it and idle.</summary>
    public void GiveBackExcess()
    {
        if (Volatile.Read(ref _overLimit) == 0)
            return;
        // While the mode is slow the magazines are empty.
        if (Budget.Excess is > 0 and long excess)
            Reclaim(excess, forOwner: null, gatherFirst: false);
        if (Budget.Excess != 0)
            return;
        // A limit that is lowered at this moment is seen here, or notes itself after this.
        Interlocked.Exchange(ref _overLimit, 0);
        if (Budget.Excess != 0)
            Interlocked.Exchange(ref _overLimit, 1);
        engine.UpdateMode();
    }

    private long Reclaim(long bytes, SlabOwner? forOwner, bool gatherFirst)
    {
        long reclaimed = engine.ReclaimDirect(bytes);
        if (reclaimed < bytes && gatherFirst)
            GatherMagazines();
        // The largest blocks first: they give back most at a time.
        for (int i = classes.Length - 1; i >= 0 && reclaimed < bytes; i--)
        {
            if (classes[i] != forOwner)
                reclaimed += classes[i].Reclaim(bytes - reclaimed);
        }
        return reclaimed;
    }
}
