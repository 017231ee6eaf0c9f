using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Pooling;

/// <summary>Idle blocks of one size class that belong to one thread, which takes and puts them without a lock (Bonwick's magazine).</summary>
/// <remarks>
/// The owner marks itself busy, checks whether the magazine is revoked, acts, and is no longer busy: plain loads and
/// stores. Another thread that wants the blocks revokes the magazine, passes a process-wide barrier, and takes them if
/// the owner is not busy. An owner that had not seen the revocation was busy before the barrier, so it is seen to be.
/// Blocks are numbers, not references, so they need no write barrier of the garbage collector. Invariant: 0 ≤ Count ≤ Capacity.
/// </remarks>
internal sealed class Magazine
{
    /// <summary>The most blocks that a magazine holds.</summary>
    public const int MaxCapacity = 64;

    private readonly Thread _maker;
    private int _capacity;
    private State _state;

    /// <param name="number">The number of the current thread, which becomes its owner.</param>
    /// <param name="granted">The number of blocks it may hold, which come from the pool's share.</param>
    /// <param name="capacity">The number of blocks it holds at most at first.</param>
    public Magazine(int number, int granted, int capacity)
    {
        Number = number;
        Granted = granted;
        _maker = Thread.CurrentThread;
        _capacity = capacity;
#if !ALLOCTOOLS_COUNTERS
        // A number of rents is never 0 when it is looked at.
        _state.Rents = 1;
#endif
    }

    /// <summary>The number of the thread that owns it.</summary>
    public int Number { get; }

    /// <summary>
    /// Whether the thread that it was made for has ended. A thread that has inherited its number may use it, and makes
    /// another when this one is taken away.
    /// </summary>
    public bool IsOrphaned => !_maker.IsAlive;

    /// <summary>The largest value that <see cref="Capacity"/> may have.</summary>
    public int Granted { get; }

    /// <summary>
    /// The most blocks it holds for now. Made smaller only while it is revoked and empty, and larger at any time.
    /// </summary>
    public int Capacity
    {
        get => Volatile.Read(ref _capacity);
        set => Volatile.Write(ref _capacity, value);
    }

    /// <summary>The number of blocks. Exact only while the owner is at rest.</summary>
    public int Count => Volatile.Read(ref _state.Count);

    /// <summary>
    /// Whether it holds blocks, or its owner is in the middle of something. Blocks that were put in before, in the
    /// order that threads agree on, are seen.
    /// </summary>
    public bool MayHoldBlocks => (Volatile.Read(ref _state.Busy) | Volatile.Read(ref _state.Count)) != 0;

    /// <summary>The number of rents that it served. Written by its owner only.</summary>
    public long Rents => Volatile.Read(ref _state.Rents);

    /// <summary>The same as <see cref="Rents"/>, for its owner.</summary>
    public long OwnRents => _state.Rents;

    /// <summary>The value of <see cref="Rents"/> at the last look. Guarded by the lock of the class's magazines.</summary>
    public long RentsSeen { get; set; } = -1;

    /// <summary>Takes a block. Only the owning thread may call this.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryPop(out FreeBlock block)
    {
        Volatile.Write(ref _state.Busy, 1);
        if (Volatile.Read(ref _state.Revoked) == 0)
        {
            int top = _state.Count - 1;
            if (top >= 0)
            {
                block = BlockAt(top);
                _state.Count = top;
                CountRent();
                Volatile.Write(ref _state.Busy, 0);
                return true;
            }
        }
        Volatile.Write(ref _state.Busy, 0);
        block = default;
        return false;
    }

    /// <summary>Puts a block, unless the mode says that others want it. Only the owning thread may call this.</summary>
    /// <param name="block">The block.</param>
    /// <param name="mode">Read while busy: a thread that changed it and then passed the barrier finds the block here, or the block is refused.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryPush(FreeBlock block, ref int mode)
    {
        Volatile.Write(ref _state.Busy, 1);
        if ((Volatile.Read(ref _state.Revoked) | Volatile.Read(ref mode)) == 0)
        {
            int top = _state.Count;
            if (top < _capacity)
            {
                BlockAt(top) = block;
                _state.Count = top + 1;
                Volatile.Write(ref _state.Busy, 0);
                return true;
            }
        }
        Volatile.Write(ref _state.Busy, 0);
        return false;
    }

    /// <summary>
    /// Fills at most half of it from the shelves, and gives one of these blocks to the caller, unless others want
    /// blocks. Only the owning thread may call this, with the lock of the shelves held.
    /// </summary>
    /// <returns>False if it took nothing.</returns>
    public bool TryFill(SlabShelves shelves, ref int mode, out FreeBlock block)
    {
        int count = 0;
        block = default;
        Volatile.Write(ref _state.Busy, 1);
        if ((Volatile.Read(ref _state.Revoked) | Volatile.Read(ref mode)) == 0)
        {
            int top = _state.Count;
            count = shelves.Take(Blocks.Slice(top, Math.Min(_capacity / 2, _capacity - top)));
            if (count != 0)
            {
                _state.Count = top + count - 1;
                block = BlockAt(_state.Count);
            }
        }
        Volatile.Write(ref _state.Busy, 0);
        return count != 0;
    }

    /// <summary>
    /// Puts back at most half of what it may hold, the blocks that were put in first. Only the owning thread may call
    /// this, with the lock of the shelves held.
    /// </summary>
    /// <returns>The number of blocks.</returns>
    public int Spill(SlabShelves shelves)
    {
        int count = 0;
        Volatile.Write(ref _state.Busy, 1);
        if (Volatile.Read(ref _state.Revoked) == 0)
        {
            count = Math.Min(_capacity / 2, _state.Count);
            shelves.Put(Blocks[..count]);
            // The blocks that were put in last are warm in the cache, and stay.
            Blocks[count.._state.Count].CopyTo(Blocks);
            _state.Count -= count;
        }
        Volatile.Write(ref _state.Busy, 0);
        return count;
    }

    /// <summary>
    /// Keeps the owner out once the process-wide barrier was passed, until the revocation is ended. Needs the lock of
    /// the class's magazines, as do all members below.
    /// </summary>
    public void Revoke() => Volatile.Write(ref _state.Revoked, 1);

    public void EndRevocation() => Volatile.Write(ref _state.Revoked, 0);

    /// <summary>Takes all blocks of a revoked magazine, unless its owner is in the middle of something.</summary>
    public bool TryTakeAll(List<FreeBlock> into)
    {
        if (Volatile.Read(ref _state.Busy) != 0)
            return false;
        for (int i = 0; i < _state.Count; i++)
            into.Add(BlockAt(i));
        _state.Count = 0;
        return true;
    }

    /// <summary>Counts a rent. Left out of a build that shows what counting costs; see docs/performance.md.</summary>
    [Conditional("ALLOCTOOLS_COUNTERS")]
    private void CountRent() => _state.Rents++;

    private Span<FreeBlock> Blocks => MemoryMarshal.CreateSpan(ref _state.First, _capacity);

    /// <summary>Returns a block within the capacity, which its callers have checked.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref FreeBlock BlockAt(int index) => ref Unsafe.Add(ref _state.First, (nint)(uint)index);

    /// <summary>
    /// Has its cache lines for itself, and their neighbours, because they are fetched in pairs. It contains the blocks,
    /// which saves a load.
    /// </summary>
    [StructLayout(LayoutKind.Explicit, Size = 160 + (MaxCapacity * 16) + 128)]
    private struct State
    {
        [FieldOffset(128)]
        public int Busy;

        [FieldOffset(132)]
        public int Revoked;

        [FieldOffset(136)]
        public int Count;

        [FieldOffset(144)]
        public long Rents;

        /// <summary>The first of <see cref="MaxCapacity"/> blocks.</summary>
        [FieldOffset(160)]
        public FreeBlock First;
    }
}
