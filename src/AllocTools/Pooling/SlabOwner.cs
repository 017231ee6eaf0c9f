namespace AllocTools.Pooling;

/// <summary>What a block goes back to: a size class, the direct regions, or the user regions.</summary>
internal abstract class SlabOwner(PoolEngine engine)
{
    public PoolEngine Engine { get; } = engine;

    /// <summary>Blocks that were returned while operations that timed out still hold them.</summary>
    public long Quarantined => Volatile.Read(ref _quarantined);

    private long _quarantined;

    /// <summary>A lease has ended and nothing holds the block.</summary>
    /// <exception cref="ObjectDisposedException">The pool was closed before. The memory is given back all the same.</exception>
    public void OnReturned(Slab slab, int index)
    {
        // Read first: this very return may be what closing waits for.
        bool isLate = Engine.IsClosed;
        TakeBack(slab, index);
        Engine.AfterRelease();
        if (isLate)
            LeaseErrors.ThrowLateReturn(Engine.Name);
    }

    /// <summary>A lease that no caller has got is taken back.</summary>
    public void OnGivenBack(Slab slab, int index)
    {
        TakeBack(slab, index);
        Engine.AfterRelease();
    }

    public abstract RmaSizeClassStatistics GetStatistics();

    /// <summary>Blocks that are out or quarantined.</summary>
    public abstract long Outstanding { get; }

    /// <summary>Blocks that callers have. Never too few; for a moment it may count one that leaves the quarantine.</summary>
    public long Rented => Outstanding - Quarantined;

    /// <summary>Gives back every slab that nothing is out of. Those of the rest go with their last block.</summary>
    public abstract void ReleaseIdle();

    /// <summary>A lease has ended, and operations that timed out still hold the block.</summary>
    public void OnQuarantined()
    {
        Interlocked.Increment(ref _quarantined);
        Engine.AfterRelease();
    }

    public void OnLeftQuarantine(Slab slab, int index)
    {
        Interlocked.Decrement(ref _quarantined);
        TakeBack(slab, index);
        Engine.AfterRelease();
    }

    /// <summary>Puts a block where it can be rented again, or gives its memory back where the pool is closed.</summary>
    private protected abstract void TakeBack(Slab slab, int index);
}
