using System.Runtime.CompilerServices;
using AllocTools.Buffers;
using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>One registration, cut into equal blocks. Leases refer to it, so it may outlive the pool.</summary>
/// <remarks>
/// Each block has a state word: the upper 56 bits are a generation, the lower 8 count holds (operations, exposures,
/// pins). A lease is the word as it was when the block was rented. A return is one compare-and-swap from the lease to
/// the next generation. It fails when the lease has ended and when anything holds the block, and of two threads that
/// return copies of one lease exactly one succeeds. The generation of a free block is one that no lease has yet. It is
/// kept with the block's number while the block is free (<see cref="FreeBlock"/>), so a rent neither reads nor writes
/// the word. A generation never restarts: 2^56 rents of one block take longer than machines live.
/// More than 254 holds at a time, pins, holds of operations that timed out, and those of a block whose lease has ended
/// are counted by the <see cref="HoldLedger"/>.
/// State words of large blocks are on cache lines of their own (128 bytes from 64 KiB on, 64 from 16 KiB), so two
/// threads that rent neighbours do not slow each other down. It costs 0.4 % of the memory; smaller blocks go without.
/// </remarks>
internal sealed unsafe class Slab
{
    public const ulong GenerationUnit = 0x100;
    public const ulong HoldMask = GenerationUnit - 1;

    /// <summary>The hold count that says that the ledger has the number.</summary>
    public const ulong HoldsInLedger = HoldMask;

    private const int CacheLinePair = 128;

    // Pinned, so that it can be used without bounds checks; the indices come from the pool alone.
    private readonly ulong[] _memory;
    private readonly ulong* _states;
    private readonly int _stride;
    private readonly nint _address;

    // For a copy that belongs to one watched lease: the slab itself, and the watch over the lease.
    private readonly Slab _origin;
    private readonly LeaseTracker? _tracker;

    // For a view: where it begins in the registration.
    private readonly long _offset;

    public Slab(SlabOwner owner, MemoryRegion region, long blockSize, int blockCount, ulong[] stateMemory)
    {
        _origin = this;
        Owner = owner;
        Region = region;
        BlockSize = blockSize;
        BlockCount = blockCount;
        _address = region.Address;
        _memory = stateMemory;
        _stride = StrideOf(blockSize);
        nint start = (nint)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(stateMemory, 0);
        _states = (ulong*)((start + CacheLinePair - 1) & -CacheLinePair);
        IsWritable = region.IsWritable;
    }

    /// <summary>Creates one lease's view of a part of a registration that others use, too.</summary>
    /// <param name="owner">The owner that the lease comes back to.</param>
    /// <param name="entry">The registration.</param>
    /// <param name="offset">Bytes from its start.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="isReadOnly">Whether nothing may be written through it.</param>
    /// <param name="stateMemory">From <see cref="AllocateStates"/>, or from a view that is no longer used: its generations continue.</param>
    public Slab(SlabOwner owner, CacheEntry entry, long offset, long length, bool isReadOnly, ulong[] stateMemory)
        : this(owner, entry.Region!, length, 1, stateMemory)
    {
        Entry = entry;
        ChecksPointers = owner.Parts.Settings.ChecksPointers;
        _offset = offset;
        _address = entry.Address + (nint)offset;
        IsWritable &= !isReadOnly;
    }

    private Slab(Slab origin, LeaseTracker tracker)
    {
        Entry = origin.Entry;
        IsWritable = origin.IsWritable;
        _offset = origin._offset;
        _origin = origin;
        _tracker = tracker;
        Owner = origin.Owner;
        Region = origin.Region;
        BlockSize = origin.BlockSize;
        BlockCount = origin.BlockCount;
        ChecksPointers = origin.ChecksPointers;
        _address = origin._address;
        _memory = origin._memory;
        _stride = origin._stride;
        _states = origin._states;
        Arrays = origin.Arrays;
    }

    public SlabOwner Owner { get; }

    public MemoryRegion Region { get; }

    /// <summary>The cached registration that this is a view of; null for all others.</summary>
    public CacheEntry? Entry { get; }

    /// <summary>Whether operations and peers may write to it.</summary>
    public bool IsWritable { get; }

    /// <summary>The memory for the state words, which another view may continue to use.</summary>
    public ulong[] StateMemory => _memory;

    /// <summary>Where the first block begins, in bytes from the start of the registration.</summary>
    public long Offset => _offset;

    /// <summary>Bytes of a block.</summary>
    public long BlockSize { get; }

    /// <summary>Its blocks as memory of an array; null if it is not in an array.</summary>
    public ArrayBlocks? Arrays { get; init; }

    /// <summary>The watch over the one lease that this copy belongs to; null for all others.</summary>
    public LeaseTracker? Tracker => _tracker;

    /// <summary>Its number in its class, while it belongs to one.</summary>
    public int Number { get; set; }

    public int BlockCount { get; }

    /// <summary>The pool's option <see cref="RmaMemoryPoolOptions.CheckPointers"/>.</summary>
    public bool ChecksPointers { get; init; }

    /// <summary>Returns a copy of the slab for one watched lease: only the buffers of that lease refer to it.</summary>
    public Slab CopyWatchedBy(LeaseTracker tracker) => new(this, tracker);

    /// <summary>Allocates memory for the state words of the given number of blocks.</summary>
    public static ulong[] AllocateStates(long blockSize, int blockCount) =>
        GC.AllocateArray<ulong>(checked((blockCount * StrideOf(blockSize)) + (2 * CacheLinePair / sizeof(ulong))), pinned: true);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public nint AddressOf(int index) => _address + (nint)(index * BlockSize);

    public long OffsetOf(int index) => _offset + (index * BlockSize);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool IsRented(int index, ulong lease) => (Volatile.Read(ref State(index)) & ~HoldMask) == lease;

    /// <summary>Returns the next lease of a block that is free, or about to be.</summary>
    public ulong Lease(int index) => Volatile.Read(ref State(index));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref ulong State(int index) => ref *(_states + (nint)(uint)index * _stride);

    /// <summary>
    /// Ends a lease as <see cref="RmaBuffer.Dispose"/> does: if an operation or an exposure holds the block, it comes
    /// back later.
    /// </summary>
    public void Return(int index, ulong lease)
    {
        if (Interlocked.CompareExchange(ref State(index), lease + GenerationUnit, lease) == lease || TryEndHeld(index, lease, isStrict: false))
            TakeBack(index, lease + GenerationUnit);
    }

    /// <summary>Ends a lease as <see cref="RmaBuffer.Return"/> does: it is an error if something holds the block.</summary>
    public void ReturnStrictly(int index, ulong lease)
    {
        // This is read first, because closing may wait for this very return.
        bool isLate = Owner.Parts.Lifetime.IsClosed;
        if (Interlocked.CompareExchange(ref State(index), lease + GenerationUnit, lease) == lease || TryEndHeld(index, lease, isStrict: true))
            TakeBack(index, lease + GenerationUnit);
        if (isLate)
            LeaseErrors.ThrowLateReturn(this);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void TakeBack(int index, ulong nextLease)
    {
        _tracker?.Dispose();
        Owner.OnReturned(_origin, index, nextLease, _tracker);
    }

    /// <summary>Ends the lease of a block that is held, or was a moment ago.</summary>
    /// <returns>True if nothing holds it any more; false if its last hold brings it back.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryEndHeld(int index, ulong lease, bool isStrict)
    {
        do
        {
            if (!IsRented(index, lease))
                LeaseErrors.ThrowReturned(this);
            if (Owner.Parts.Ledger.TryDeferReturn(_origin, index, lease, isStrict, out int holds))
            {
                _tracker?.Dispose();
                Owner.OnQuarantined(_origin, holds, _tracker);
                return false;
            }
        }
        while (Interlocked.CompareExchange(ref State(index), lease + GenerationUnit, lease) != lease);
        return true;
    }

    /// <summary>Takes back a lease that no caller has received. Unlike a return, it is never late.</summary>
    public void GiveBack(int index, ulong lease)
    {
        if (Interlocked.CompareExchange(ref State(index), lease + GenerationUnit, lease) != lease)
            LeaseErrors.ThrowReturned(this);
        _tracker?.Dispose();
        Owner.OnGivenBack(_origin, index, lease + GenerationUnit);
    }

    public void Hold(int index, ulong lease)
    {
        ref ulong state = ref State(index);
        while (true)
        {
            ulong seen = Volatile.Read(ref state);
            if ((seen & ~HoldMask) != lease)
                LeaseErrors.ThrowReturned(this);
            if ((seen & HoldMask) >= HoldsInLedger - 1)
            {
                if (Owner.Parts.Ledger.TryAddHold(_origin, index, lease))
                    return;
            }
            else if (Interlocked.CompareExchange(ref state, seen + 1, seen) == seen)
            {
                return;
            }
        }
    }

    /// <summary>Adds a hold to a block that is held, for a caller that has one of its holds; the lease may have ended.</summary>
    public void HoldAgain(int index)
    {
        ref ulong state = ref State(index);
        while (true)
        {
            ulong seen = Volatile.Read(ref state);
            if ((seen & HoldMask) == 0)
                LeaseErrors.ThrowNotHeld();
            if ((seen & HoldMask) >= HoldsInLedger - 1)
            {
                if (Owner.Parts.Ledger.TryAddHold(_origin, index, lease: null))
                    return;
            }
            else if (Interlocked.CompareExchange(ref state, seen + 1, seen) == seen)
            {
                return;
            }
        }
    }

    /// <summary>Holds a block for a caller that has pinned it, and must unpin it before it can be returned.</summary>
    public void Pin(int index, ulong lease)
    {
        Hold(index, lease);
        if (Owner.Parts.Ledger.TryPin(_origin, index, lease))
            return;
        ReleaseHold(index, HoldKind.Counted);
        LeaseErrors.ThrowReturned(this);
    }

    /// <summary>
    /// Whether a strict return would be refused: a pin, an exposure or an operation that has not timed out holds the
    /// block, or the lease has ended.
    /// </summary>
    public bool IsInUse(int index, ulong lease)
    {
        ulong seen = Volatile.Read(ref State(index));
        return seen != lease && ((seen & ~HoldMask) != lease || Owner.Parts.Ledger.IsInUse(_origin, index));
    }

    /// <summary>Whether a caller has a pointer to the block.</summary>
    public bool IsPinned(int index) => (Volatile.Read(ref State(index)) & HoldMask) != 0 && Owner.Parts.Ledger.IsPinned(_origin, index);

    public void QuarantineHold(int index) => Owner.Parts.Ledger.Quarantine(_origin, index);

    public void ReleaseHold(int index, HoldKind kind)
    {
        ref ulong state = ref State(index);
        while (true)
        {
            ulong seen = Volatile.Read(ref state);
            if (kind != HoldKind.Counted || (seen & HoldMask) == HoldsInLedger)
            {
                if (Owner.Parts.Ledger.Release(_origin, index, kind))
                    Owner.OnLeftQuarantine(_origin, index, Lease(index));
                return;
            }
            // A decrement would borrow from the generation.
            if ((seen & HoldMask) == 0)
                LeaseErrors.ThrowNotHeld();
            if (Interlocked.CompareExchange(ref state, seen - 1, seen) == seen)
                return;
        }
    }

    private static int StrideOf(long blockSize) => blockSize >= 64 << 10 ? 16 : blockSize >= 16 << 10 ? 8 : 1;
}
