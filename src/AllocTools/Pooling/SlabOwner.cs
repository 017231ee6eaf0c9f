using System.Runtime.CompilerServices;

namespace AllocTools.Pooling;

/// <summary>What a block goes back to: a size class, the direct regions, or the user regions.</summary>
internal abstract class SlabOwner(PoolParts parts)
{
    /// <summary>A bit of <see cref="Mode"/>: returned blocks are overwritten first.</summary>
    public const int ScrubMode = 1;

    /// <summary>A bit of <see cref="Mode"/>: callers wait for memory, or the pool is closing. Blocks go where all threads can see them.</summary>
    public const int SlowMode = 2;

    /// <summary>0: a return may put its block into the thread's magazine and be done.</summary>
    protected int Mode;

    /// <summary>As <see cref="Mode"/>, <see cref="SlowMode"/> only.</summary>
    protected int Slow;

    /// <summary>By the number of the thread. Empty where there are none.</summary>
    protected Magazine?[] Magazines = [];

    /// <summary>What the pool has for all owners.</summary>
    public PoolParts Parts { get; } = parts;

    /// <summary>Blocks that were returned while operations or exposures still hold them.</summary>
    public long Quarantined => Volatile.Read(ref _quarantined);

    private long _quarantined;

    /// <summary>The thread that sets <see cref="SlowMode"/> then has the magazines gathered; see <see cref="PoolMemory.GatherForSlowMode"/>.</summary>
    public void SetMode(int mode)
    {
        Volatile.Write(ref Slow, mode & SlowMode);
        Volatile.Write(ref Mode, mode);
    }

    /// <summary>A lease has ended and nothing holds the block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void OnReturned(Slab slab, int index, ulong nextLease, LeaseTracker? tracker)
    {
        if (OwnMagazine() is not { } magazine || !magazine.TryPush(new FreeBlock(slab.Number, index, nextLease), ref Mode))
            PutCold(slab, index, nextLease, tracker);
    }

    /// <summary>A lease that no caller received is taken back.</summary>
    public void OnGivenBack(Slab slab, int index, ulong nextLease)
    {
        TakeBack(slab, index, nextLease);
        Parts.Signals.AfterRelease();
    }

    public abstract RmaSizeClassStatistics GetStatistics();

    /// <summary>Blocks that are rented or quarantined.</summary>
    public abstract long Outstanding { get; }

    /// <summary>Blocks that callers have. Never too few; for a moment it may count one that leaves the quarantine.</summary>
    public long Rented => Outstanding - Quarantined;

    /// <summary>Gives back every slab of which no block is rented. The others go with their last block. It is called once, when the pool is closed.</summary>
    public abstract void ReleaseIdle();

    /// <summary>Gives back what has been idle since that timestamp or longer.</summary>
    public virtual void Trim(long idleSince)
    {
    }

    /// <summary>A lease has ended, and the block is still held.</summary>
    /// <param name="slab">Its slab.</param>
    /// <param name="holds">How many operations and exposures hold it, but for those that timed out.</param>
    /// <param name="tracker">What watched the lease, if anything did.</param>
    public void OnQuarantined(Slab slab, int holds, LeaseTracker? tracker)
    {
        Interlocked.Increment(ref _quarantined);
        if (holds != 0)
            Parts.Incidents.DeferredReturn(slab.BlockSize, holds, tracker);
        if (Parts.Lifetime.IsClosed)
            Parts.Incidents.LateReturn(slab.BlockSize, tracker);
        Parts.Signals.AfterRelease();
    }

    public void OnLeftQuarantine(Slab slab, int index, ulong nextLease)
    {
        Interlocked.Decrement(ref _quarantined);
        TakeBack(slab, index, nextLease);
        Parts.Signals.AfterRelease();
    }

    /// <summary>Puts a block where it can be rented again, or gives its memory back where the pool is closed.</summary>
    private protected abstract void TakeBack(Slab slab, int index, ulong nextLease);

    /// <summary>The current thread's magazine; null where it has none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    protected Magazine? OwnMagazine()
    {
        Magazine?[] magazines = Magazines;
        int thread = ThreadNumbers.Current;
        return (uint)thread < (uint)magazines.Length ? magazines[thread] : null;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void PutCold(Slab slab, int index, ulong nextLease, LeaseTracker? tracker)
    {
        // This is read first, because closing may wait for this very return.
        bool isLate = Parts.Lifetime.IsClosed;
        TakeBack(slab, index, nextLease);
        Parts.Signals.AfterRelease();
        if (isLate)
            Parts.Incidents.LateReturn(slab.BlockSize, tracker);
    }
}
