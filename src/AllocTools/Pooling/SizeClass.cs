using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>Manages the blocks of one size, in magazines of threads over shelves of slabs.</summary>
/// <remarks>
/// A thread takes blocks from its magazine and puts them there. It fills and spills half of the magazine at a time,
/// under the lock of the shelves. There is no layer of whole magazines in between: see docs/performance.md. Growth is
/// single-flight: see <see cref="ClassGrowth"/>.
/// Invariants: a thread that has the lock finds every idle block on the shelves or in a magazine, so the class never
/// grows while one is idle, see <see cref="TryReuse"/>; at rest, free + in magazines + rented + quarantined = Σ blocks
/// of the slabs.
/// </remarks>
internal sealed partial class SizeClass : SlabOwner
{
    private readonly Lock _gate = new();
    private readonly SlabShelves _shelves;
    private readonly MagazineSet _magazines;

    private readonly ClassGrowth _growth;

    // A copy of the detector's mask, which the warm path reads by one load.
    private long _leakMask;

    // The slabs by number. They are looked up without the lock: a block that is not on the shelves has its slab here.
    private Slab?[] _slabs = [];
    private Counts _counts;

    public SizeClass(PoolParts parts, long blockSize, int initialBlocks)
        : base(parts)
    {
        BlockSize = blockSize;
        InitialBlocks = initialBlocks;
        _shelves = new SlabShelves(parts.Settings.Time);
        ReadLeakLevel();
        _magazines = new MagazineSet(this, magazines => Volatile.Write(ref Magazines, magazines));
        _growth = new ClassGrowth(this);
    }

    /// <summary>Reads the level of leak detection again, after it was changed.</summary>
    public void ReadLeakLevel() => Volatile.Write(ref _leakMask, Parts.Leaks.Mask);

    public long BlockSize { get; }

    public int InitialBlocks { get; }

    /// <summary>The class of the next larger blocks; null for the last.</summary>
    public SizeClass? Next { get; init; }

    /// <summary>Its place among the pool's classes, the smallest first.</summary>
    public required int Index { get; init; }

    public override long Outstanding
    {
        get
        {
            lock (_gate)
                return _shelves.Total - _shelves.Free - _magazines.Blocks;
        }
    }

    /// <summary>Idle bytes in magazines.</summary>
    public long MagazineBytes => _magazines.Blocks * BlockSize;

    /// <summary>Takes a block from the current thread's magazine.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryTakeWarm(long length, out RmaBuffer buffer)
    {
        if (OwnMagazine() is { } magazine && magazine.TryPop(out FreeBlock block))
        {
            buffer = ToBuffer(block, length);
            if ((magazine.OwnRents & _leakMask) == 0)
                buffer = Parts.Leaks.Watch(buffer);
            return true;
        }
        buffer = default;
        return false;
    }

    /// <summary>
    /// Takes an idle block without registering anything; with <paramref name="fromOthers"/> also from other threads'
    /// magazines.
    /// </summary>
    public bool TryTakeIdle(long length, bool fromOthers, out RmaBuffer buffer) =>
        TryTakeFree(length, isHit: true, out buffer) || fromOthers && Gather(MagazinesToCollect.All) && TryTakeFree(length, isHit: true, out buffer);

    /// <summary>
    /// Takes an idle block, also from other threads' magazines, unless another thread lets the class grow and looks
    /// there itself. It neither calls the provider nor waits for it.
    /// </summary>
    public bool TryTakeWithoutGrowth(long length, out RmaBuffer buffer)
    {
        if (TryTakeFree(length, isHit: true, out buffer))
            return true;
        if (_growth.TryBegin(out _) is not { } own)
            return false;
        try
        {
            return TryReuse(length, out buffer);
        }
        finally
        {
            _growth.End(own, hasGrown: false);
        }
    }

    /// <summary>
    /// Takes an idle block, or registers more memory for one. It waits for another thread's registration, for at most
    /// <see cref="PoolSettings.RentTimeout"/> if that is a limit.
    /// </summary>
    /// <param name="length">Bytes.</param>
    /// <param name="buffer">The block.</param>
    /// <param name="growth">The most bytes to grow by, without giving back idle memory for them; 0: as much as the class likes, if need be in place of idle memory.</param>
    /// <returns>False if the cap leaves no room, or the wait was too long.</returns>
    public bool TryTake(long length, out RmaBuffer buffer, long growth = 0)
    {
        bool hasGrown = false;
        long until = 0;
        while (true)
        {
            if (TryTakeFree(length, isHit: !hasGrown, out buffer))
                return true;
            if (_growth.TryBegin(out Task<bool>? othersGrowth) is { } ownGrowth)
                return GrowAndTake(ownGrowth, length, growth, out buffer);
            if (!_growth.IsOver(othersGrowth!, ref until))
                return TryTakeIdle(length, fromOthers: true, out buffer);
            hasGrown |= othersGrowth!.Result;
        }
    }

    /// <summary>Returns the slabs that the class still lacks for its initial blocks, by their number of blocks.</summary>
    public IEnumerable<int> MissingSlabs()
    {
        long missing;
        lock (_gate)
            missing = InitialBlocks - _shelves.Total;
        long most = Math.Max(1, Parts.Settings.MaxSlabBytes / BlockSize);
        for (; missing > 0; missing -= most)
            yield return (int)Math.Min(missing, most);
    }

    /// <summary>
    /// Registers a slab with the given number of blocks, which is kept. It takes nothing from other classes for that.
    /// </summary>
    /// <returns>The number of bytes; 0 if the cap leaves no room for a block.</returns>
    public long AddInitialSlab(int blocks)
    {
        Slab? slab = _growth.TryCreateSlab(blocks * BlockSize, mayReclaim: false);
        if (slab is null)
            return 0;
        lock (_gate)
            Add_NeedsLock(slab, isInitial: true);
        Parts.Memory.InTransit.Leave(slab.Region.Length);
        Parts.Signals.SignalWaiters();
        return slab.BlockCount * BlockSize;
    }

    /// <summary>Puts the blocks of magazines back into their slabs, if there are any.</summary>
    /// <returns>True if there were any.</returns>
    private bool Gather(MagazinesToCollect which) => Parts.Memory.Gather([this], which);

    /// <summary>Does the first half of a gathering; see <see cref="PoolMemory.Gather"/>.</summary>
    public bool RevokeMagazines(MagazinesToCollect which, bool look) => _magazines.Revoke(which, look);

    /// <summary>Does the second half of a gathering, behind the barrier: puts the blocks of magazines back into their slabs.</summary>
    /// <returns>True if there were any.</returns>
    public bool CollectMagazines(MagazinesToCollect which)
    {
        lock (_gate)
        {
            ReadOnlySpan<FreeBlock> blocks = CollectionsMarshal.AsSpan(_magazines.Collect(which));
            _shelves.Put(blocks);
            return !blocks.IsEmpty;
        }
    }

    /// <summary>Takes an idle block of a slab that is kept from the start.</summary>
    public bool TryTakeInitial(long length, out RmaBuffer buffer)
    {
        FreeBlock block;
        lock (_gate)
        {
            if (!_shelves.TryTakeInitial(out block))
            {
                buffer = default;
                return false;
            }
            _counts.Hits++;
        }
        buffer = ToBuffer(block, length);
        return true;
    }

    /// <summary>The bytes that the class would grow by.</summary>
    public long NextGrowth => _growth.Next;

    /// <summary>The slabs that were registered at start.</summary>
    public IReadOnlyList<MemoryRegion> InitialRegions
    {
        get
        {
            lock (_gate)
                return [.. _shelves.Slabs.Where(s => s.IsInitial).Select(s => s.Slab.Region)];
        }
    }

    public override RmaSizeClassStatistics GetStatistics()
    {
        lock (_gate)
        {
            long idle = _shelves.Free + _magazines.Blocks;
            return new RmaSizeClassStatistics
            {
                Name = BlockSize.ToString(CultureInfo.InvariantCulture),
                BlockSize = BlockSize,
                Slabs = _shelves.Count,
                RegisteredBytes = _shelves.Bytes,
                IdleBytes = _shelves.Bytes - ((_shelves.Total - idle) * BlockSize),
                Hits = _counts.Hits + _magazines.Rents,
                Misses = _counts.Misses,
                TotalBuffers = _shelves.Total,
                IdleBuffers = idle,
                QuarantinedBuffers = Quarantined,
            };
        }
    }

    private protected override void TakeBack(Slab slab, int index, ulong nextLease)
    {
        Parts.Scrubber.Scrub(slab, index);
        FreeBlock block = new(slab.Number, index, nextLease);
        if (Volatile.Read(ref Mode) < SlowMode)
        {
            Magazine? magazine = OwnMagazine() ?? _magazines.Create();
            // A magazine that is revoked or has no room takes nothing; the block goes to the shelves then.
            if (magazine is not null)
            {
                if (magazine.TryPush(block, ref Slow) || Spill(magazine) && magazine.TryPush(block, ref Slow))
                    return;
            }
        }
        lock (_gate)
            _shelves.Put([block]);
        // The caller signals the waiters.
        ReclaimIfClosed();
    }

    /// <summary>Makes room in a magazine of more than one block by putting back half of it.</summary>
    private bool Spill(Magazine magazine)
    {
        lock (_gate)
        {
            if (magazine.Spill(_shelves) == 0)
                return false;
        }
        AfterPut();
        return true;
    }

    private void AfterPut()
    {
        ReclaimIfClosed();
        Parts.Signals.AfterRelease();
    }

    /// <summary>Takes a free block, and fills the thread's magazine with some more.</summary>
    private bool TryTakeFree(long length, bool isHit, out RmaBuffer buffer)
    {
        Magazine? magazine = MagazineToFill();
        FreeBlock block;
        lock (_gate)
        {
            if (!TryTake_NeedsLock(magazine, isHit, out block))
            {
                buffer = default;
                return false;
            }
        }
        buffer = ToBuffer(block, length);
        return true;
    }

    /// <summary>Returns the thread's magazine; null while callers wait or the pool closes.</summary>
    private Magazine? MagazineToFill() => Volatile.Read(ref Mode) < SlowMode ? OwnMagazine() ?? _magazines.Create() : null;

    private bool TryTake_NeedsLock(Magazine? magazine, bool isHit, out FreeBlock block)
    {
        // A fill takes half of what a magazine holds, including the caller's block. If no more blocks are in flight
        // than it holds, they come and go without the slabs.
        if (magazine is null || !magazine.TryFill(_shelves, ref Slow, out block))
        {
            block = default;
            if (_shelves.Take(new Span<FreeBlock>(ref block)) == 0)
                return false;
        }
        if (isHit)
            _counts.Hits++;
        else
            _counts.Misses++;
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private RmaBuffer ToBuffer(FreeBlock block, long length)
    {
        Slab slab = _slabs[block.Slab]!;
        Debug.Assert(slab.State(block.Index) == block.Lease, "a free block's state word is its next lease");
        return new RmaBuffer(slab, block.Index, block.Lease, (uint)(slab.BlockSize - length));
    }

    /// <summary>
    /// Takes a block that threads keep in their magazines, dead threads' first. Live threads' magazines become smaller
    /// each time. So threads that need the same few blocks soon leave them on the shelves, instead of taking them from
    /// each other again and again, at a process-wide barrier each time.
    /// </summary>
    private bool TryReuse(long length, out RmaBuffer buffer)
    {
        if (Gather(MagazinesToCollect.Dead) && TryTakeFree(length, isHit: true, out buffer))
            return true;
        while (Gather(MagazinesToCollect.AllAndShrink))
        {
            if (TryTakeFree(length, isHit: true, out buffer))
                return true;
        }
        return TryTakeFree(length, isHit: true, out buffer);
    }

    private bool GrowAndTake(TaskCompletionSource<bool> growth, long length, long mostBytes, out RmaBuffer buffer)
    {
        bool hasGrown = false;
        try
        {
            if (TryReuse(length, out buffer))
                return true;
            Slab? slab = mostBytes == 0 ? _growth.TryRegister(_growth.Next, mayReclaim: true) : _growth.TryRegister(Math.Max(mostBytes / BlockSize, 1) * BlockSize, mayReclaim: false);
            if (slab is null)
                return TryTakeIdle(length, fromOthers: true, out buffer);
            hasGrown = true;
            buffer = AddAndTake(slab, length);
            // All callers may have the rest of the slab, including waiters for smaller blocks.
            Parts.Signals.SignalWaiters();
            return true;
        }
        finally
        {
            _growth.End(growth, hasGrown);
        }
    }

    private RmaBuffer AddAndTake(Slab slab, long length)
    {
        _magazines.Restore();
        Magazine? magazine = MagazineToFill();
        FreeBlock block;
        lock (_gate)
        {
            Add_NeedsLock(slab, isInitial: false);
            _growth.Double(slab.Region.Length);
            // This comes before any other thread sees the slab, because others may take all the rest of it.
            TryTake_NeedsLock(magazine, isHit: false, out block);
        }
        Parts.Memory.InTransit.Leave(slab.Region.Length);
        return ToBuffer(block, length);
    }

    private void Add_NeedsLock(Slab slab, bool isInitial)
    {
        _shelves.Add(slab, isInitial);
        Volatile.Write(ref _slabs, _shelves.ByNumber);
    }

    /// <summary>Written at each fill, so it is kept away from the fields above, which every rent and return reads.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Counts
    {
        [FieldOffset(128)]
        public long Hits;

        [FieldOffset(136)]
        public long Misses;
    }
}
