namespace AllocTools.Pooling;

/// <summary>The parts that the owners of a pool's slabs, and the buffers in them, work with.</summary>
/// <remarks>
/// The size classes, the regions and the caches derive from <see cref="SlabOwner"/>, whose work (growing, returning,
/// scrubbing, exposing, watching for leaks) needs nearly all of these parts, so they get them as one object. Parts
/// outside of that family get only what they use, in their constructors.
/// </remarks>
internal sealed class PoolParts
{
    /// <summary>The pool as callers know it.</summary>
    public required object Pool { get; init; }

    public required PoolSettings Settings { get; init; }

    public required PoolCounters Counters { get; init; }

    public required PoolIncidents Incidents { get; init; }

    public required PoolLifetime Lifetime { get; init; }

    public required PoolMemory Memory { get; init; }

    public required SlabFactory Slabs { get; init; }

    public required CallersMemory Callers { get; init; }

    public required Exposer Exposer { get; init; }

    public required LeakDetector Leaks { get; init; }

    public required Refusals Refusals { get; init; }

    public required Scrubber Scrubber { get; init; }

    public required IPoolSignals Signals { get; init; }

    public HoldLedger Ledger { get; } = new();
}

/// <summary>Receives what the parts of a pool report: the engine, which knows the waiters.</summary>
internal interface IPoolSignals
{
    /// <summary>Gives a block or bytes that became free to the waiters.</summary>
    void AfterRelease();

    /// <summary>
    /// Reports that there may be room. Unlike <see cref="AfterRelease"/> this gives nothing back itself, so that giving
    /// back may call it.
    /// </summary>
    void SignalWaiters();

    /// <summary>
    /// Reports that callers began or ceased to wait, or that the cap or the pool's state has changed: rents and returns
    /// bypass the magazines, or no longer do.
    /// </summary>
    void UpdateMode();
}
