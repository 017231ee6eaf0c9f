using System.Runtime.CompilerServices;

namespace AllocTools.Pooling;

/// <summary>
/// The owner that a block goes back to: a size class, the direct regions, the user regions, or a registration cache.
/// </summary>
internal abstract class SlabOwner(PoolParts parts)
{
    /// <summary>A bit of <see cref="Mode"/>: returned blocks are overwritten first.</summary>
    public const int ScrubMode = 1;

    /// <summary>A bit of <see cref="Mode"/>: callers wait for memory, or the pool is closing. Blocks go where all threads can see them.</summary>
    public const int SlowMode = 2;

    /// <summary>If 0, a return may put its block into the thread's magazine and be done.</summary>
    protected int Mode;

    /// <summary>Like <see cref="Mode"/>, but with <see cref="SlowMode"/> only.</summary>
    protected int Slow;

    /// <summary>The magazines by the number of the thread. Empty if there are none.</summary>
    protected Magazine?[] Magazines = [];

    /// <summary>The parts that the pool has for all owners.</summary>
    public PoolParts Parts { get; } = parts;

    /// <summary>Blocks that were returned while operations or exposures still hold them.</summary>
    public long Quarantined => Volatile.Read(ref _quarantined);

    private long _quarantined;

    /// <summary>
    /// Sets the mode. The thread that sets <see cref="SlowMode"/> then has the magazines gathered; see
    /// <see cref="PoolMemory.GatherForSlowMode"/>.
    /// </summary>
    public void SetMode(int mode)
    {
        Volatile.Write(ref Slow, mode & SlowMode);
        Volatile.Write(ref Mode, mode);
    }

    /// <summary>Takes back a block whose lease has ended and that nothing holds.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void OnReturned(Slab slab, int index, ulong nextLease, LeaseTracker? tracker)
    {
        if (OwnMagazine() is not { } magazine || !magazine.TryPush(new FreeBlock(slab.Number, index, nextLease), ref Mode))
            PutCold(slab, index, nextLease, tracker);
    }

    /// <summary>Takes back a lease that no caller received.</summary>
    public void OnGivenBack(Slab slab, int index, ulong nextLease)
    {
        TakeBack(slab, index, nextLease);
        Parts.Signals.AfterRelease();
    }

    public abstract RmaSizeClassStatistics GetStatistics();

    /// <summary>Blocks that are rented or quarantined.</summary>
    public abstract long Outstanding { get; }

    /// <summary>Blocks that callers have. It is never too low; for a moment it may count one that leaves the quarantine.</summary>
    public long Rented => Outstanding - Quarantined;

    /// <summary>
    /// Gives back every slab of which no block is rented. The others are given back with their last block. The pool
    /// calls it once, when it is closed.
    /// </summary>
    public abstract void ReleaseIdle();

    /// <summary>Gives back memory that has been idle since the given timestamp or longer.</summary>
    public virtual void Trim(long idleSince)
    {
    }

    /// <summary>Counts a block whose lease has ended, and that is still held.</summary>
    /// <param name="slab">Its slab.</param>
    /// <param name="holds">The number of operations and exposures that hold it, without those that timed out.</param>
    /// <param name="tracker">The watch over the lease, if there was one.</param>
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

    /// <summary>Puts a block where it can be rented again, or gives its memory back if the pool is closed.</summary>
    private protected abstract void TakeBack(Slab slab, int index, ulong nextLease);

    /// <summary>Returns the current thread's magazine; null if it has none.</summary>
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
