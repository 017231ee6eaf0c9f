using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Pooling;

/// <summary>The blocks of one size.</summary>
/// <remarks>
/// A slab that has free blocks is taken from until it has none, then the fullest of the others follows, so that the rest
/// drain and can be given back. Growth is single-flight: one thread registers, outside the lock, and the others wait for
/// it. Each growth doubles the last one, up to the option's limit.
/// Invariant: free + rented + quarantined = Σ blocks of the slabs; a slab's free count is the length of its free list.
/// </remarks>
internal sealed class SizeClass : SlabOwner
{
    private const long FirstGrowthBytes = 1L << 20;

    private readonly Lock _gate = new();
    private readonly List<FreeBlocks> _slabs = [];
    private readonly Dictionary<Slab, FreeBlocks> _bySlab = [];
    private FreeBlocks? _current;
    private TaskCompletionSource? _growth;
    private long _nextGrowthBytes;
    private long _freeBlocks;
    private long _totalBlocks;
    private long _hits;
    private long _misses;

    public SizeClass(PoolEngine engine, long blockSize, int initialBlocks)
        : base(engine)
    {
        BlockSize = blockSize;
        InitialBlocks = initialBlocks;
        _nextGrowthBytes = Math.Min(FirstGrowthBytes, engine.MaxSlabBytes);
    }

    public long BlockSize { get; }

    public int InitialBlocks { get; }

    public override long Outstanding
    {
        get
        {
            lock (_gate)
                return _totalBlocks - _freeBlocks;
        }
    }

    /// <summary>Takes an idle block, without registering anything.</summary>
    public bool TryTakeIdle(long length, out RmaBuffer buffer)
    {
        lock (_gate)
        {
            if (TryTake_NeedsLock(length, out buffer))
            {
                _hits++;
                return true;
            }
            return false;
        }
    }

    /// <summary>Takes an idle block, or registers more memory for one.</summary>
    /// <returns>False when the cap leaves no room.</returns>
    public bool TryTake(long length, out RmaBuffer buffer)
    {
        bool waited = false;
        while (true)
        {
            TaskCompletionSource? othersGrowth;
            TaskCompletionSource? ownGrowth = null;
            lock (_gate)
            {
                if (TryTake_NeedsLock(length, out buffer))
                {
                    if (waited)
                        _misses++;
                    else
                        _hits++;
                    return true;
                }
                othersGrowth = _growth;
                if (othersGrowth is null)
                    _growth = ownGrowth = new TaskCompletionSource();
            }
            if (ownGrowth is not null)
                return GrowAndTake(ownGrowth, length, out buffer);
            // Set by a thread that is in the provider now; it needs no thread of the pool to get on.
            othersGrowth!.Task.GetAwaiter().GetResult();
            waited = true;
        }
    }

    /// <summary>Registers slabs until the class has its initial blocks. Takes nothing from other classes for it.</summary>
    /// <returns>False where the cap leaves no room for all.</returns>
    public bool WarmUp(CancellationToken cancellationToken)
    {
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long missing;
            lock (_gate)
                missing = InitialBlocks - _totalBlocks;
            if (missing <= 0)
                return true;
            long most = Math.Max(1, Engine.MaxSlabBytes / BlockSize);
            Slab? slab = TryCreateSlab(Math.Min(missing, most) * BlockSize, mayReclaim: false);
            if (slab is null)
                return false;
            lock (_gate)
                Add_NeedsLock(slab);
        }
    }

    private protected override void TakeBack(Slab slab, int index)
    {
        Engine.Scrub(slab, index);
        Slab? drained = null;
        lock (_gate)
        {
            FreeBlocks blocks = _bySlab[slab];
            blocks.Push(index);
            _freeBlocks++;
            if (Engine.IsClosed && blocks.IsIdle)
            {
                Remove_NeedsLock(blocks);
                drained = slab;
            }
        }
        if (drained is not null)
            Engine.Slabs.Destroy(drained);
    }

    /// <summary>Gives back idle slabs, the least used first, until so many bytes are free again.</summary>
    public long Reclaim(long bytes)
    {
        long reclaimed = 0;
        while (reclaimed < bytes)
        {
            FreeBlocks? idle;
            lock (_gate)
            {
                idle = _slabs.Find(s => s.IsIdle);
                if (idle is null)
                    break;
                Remove_NeedsLock(idle);
            }
            Engine.Slabs.Destroy(idle.Slab);
            reclaimed += idle.Slab.Region.Length;
        }
        return reclaimed;
    }

    public override void ReleaseIdle() => Reclaim(long.MaxValue);

    public override RmaSizeClassStatistics GetStatistics()
    {
        lock (_gate)
        {
            return new RmaSizeClassStatistics
            {
                Name = BlockSize.ToString(CultureInfo.InvariantCulture),
                BlockSize = BlockSize,
                Slabs = _slabs.Count,
                RegisteredBytes = _slabs.Sum(s => s.Slab.Region.Length),
                Hits = _hits,
                Misses = _misses,
                TotalBuffers = _totalBlocks,
                IdleBuffers = _freeBlocks,
                QuarantinedBuffers = Quarantined,
            };
        }
    }

    private bool GrowAndTake(TaskCompletionSource growth, long length, out RmaBuffer buffer)
    {
        try
        {
            Slab? slab = TryGrow();
            lock (_gate)
            {
                if (slab is not null)
                {
                    Add_NeedsLock(slab);
                    _nextGrowthBytes = Math.Min(Math.Max(slab.Region.Length * 2, FirstGrowthBytes), Engine.MaxSlabBytes);
                }
                if (!TryTake_NeedsLock(length, out buffer))
                    return false;
                if (slab is null)
                    _hits++;
                else
                    _misses++;
                return true;
            }
        }
        finally
        {
            lock (_gate)
                _growth = null;
            growth.SetResult();
        }
    }

    private Slab? TryGrow()
    {
        long preferred = Math.Max(_nextGrowthBytes / BlockSize, 1) * BlockSize;
        try
        {
            return TryCreateSlab(preferred);
        }
        catch (RmaRegistrationException e) when (preferred > BlockSize)
        {
            // A limit may leave room for one block where it leaves none for many.
            try
            {
                return TryCreateSlab(BlockSize);
            }
            catch (RmaRegistrationException)
            {
                throw e;
            }
        }
    }

    private Slab? TryCreateSlab(long preferredBytes, bool mayReclaim = true)
    {
        SlabFactory slabs = Engine.Slabs;
        long reserved = Engine.Reserve(slabs.RoundToPages(preferredBytes), slabs.RoundToPages(BlockSize), this, mayReclaim);
        if (reserved == 0)
            return null;
        // Near the cap there may be room for a part of a block; that part is not taken.
        int blocks = checked((int)(reserved / BlockSize));
        long bytes = slabs.RoundToPages(blocks * BlockSize);
        Engine.Budget.Release(reserved - bytes);
        return slabs.Create(this, bytes, BlockSize, blocks);
    }

    private bool TryTake_NeedsLock(long length, out RmaBuffer buffer)
    {
        if (_current is not { Count: > 0 })
            _current = FullestWithFree_NeedsLock();
        if (_current is null)
        {
            buffer = default;
            return false;
        }
        Slab slab = _current.Slab;
        int index = _current.Pop();
        _freeBlocks--;
        buffer = new RmaBuffer(slab, index, slab.Lease(index), length);
        return true;
    }

    private FreeBlocks? FullestWithFree_NeedsLock()
    {
        FreeBlocks? best = null;
        foreach (FreeBlocks candidate in _slabs)
        {
            if (candidate.Count > 0 && (best is null || candidate.InUse > best.InUse))
                best = candidate;
        }
        return best;
    }

    private void Add_NeedsLock(Slab slab)
    {
        var blocks = new FreeBlocks(slab);
        _slabs.Add(blocks);
        _bySlab.Add(slab, blocks);
        _freeBlocks += slab.BlockCount;
        _totalBlocks += slab.BlockCount;
    }

    private void Remove_NeedsLock(FreeBlocks blocks)
    {
        Debug.Assert(blocks.IsIdle, "only an idle slab is given back");
        _slabs.Remove(blocks);
        _bySlab.Remove(blocks.Slab);
        _freeBlocks -= blocks.Slab.BlockCount;
        _totalBlocks -= blocks.Slab.BlockCount;
        if (_current == blocks)
            _current = null;
    }
}
