namespace AllocTools.Pooling;

/// <summary>A free block of a size class, and the lease that its next rent gets.</summary>
/// <remarks>
/// The thread that returns a block knows its next lease, and notes it beside the number: a rent touches no state word, so that the
/// word's cache line stays with the threads that use and return the block.
/// Invariant: while a block is free, its state word = Lease, whose hold count is 0.
/// </remarks>
internal readonly struct FreeBlock(ulong number, ulong lease)
{
    /// <summary>The slab's number in its class in the upper half, the block's index there in the lower.</summary>
    public readonly ulong Number = number;

    public readonly ulong Lease = lease;

    public FreeBlock(int slab, int index, ulong lease)
        : this(((ulong)(uint)slab << 32) | (uint)index, lease)
    {
    }

    public int Slab => (int)(Number >> 32);

    public int Index => (int)(uint)Number;
}

/// <summary>The free blocks of one slab, last in, first out; and its place among the slabs of its class. Guarded by the class's lock.</summary>
internal sealed class FreeBlocks
{
    // At the same place, the index of a free block and its next lease, which is 0 for a block that was never rented.
    private readonly int[] _indices;
    private readonly ulong[] _leases;

    public FreeBlocks(Slab slab, int number)
    {
        Slab = slab;
        Number = number;
        _indices = new int[slab.BlockCount];
        _leases = new ulong[slab.BlockCount];
        Count = _indices.Length;
        // Low addresses are handed out first.
        for (int i = 0; i < _indices.Length; i++)
            _indices[i] = _indices.Length - 1 - i;
    }

    public Slab Slab { get; }

    /// <summary>The slab's number in its class.</summary>
    public int Number { get; }

    public int Count { get; private set; }

    public int InUse => _indices.Length - Count;

    public bool IsIdle => Count == _indices.Length;

    /// <summary>Whether it was registered at start, and is kept.</summary>
    public bool IsInitial { get; init; }

    /// <summary>The timestamp of the return of its last block.</summary>
    public long IdleSince { get; set; }

    /// <summary>The shelf it is on, and its neighbours there.</summary>
    public int Shelf { get; set; }

    /// <inheritdoc cref="Shelf"/>
    public FreeBlocks? Previous { get; set; }

    /// <inheritdoc cref="Shelf"/>
    public FreeBlocks? Next { get; set; }

    /// <summary>Fills the span with blocks; the slab must have that many.</summary>
    public void Pop(Span<FreeBlock> blocks)
    {
        int first = Count - blocks.Length;
        ReadOnlySpan<int> indices = _indices.AsSpan(first, blocks.Length);
        ReadOnlySpan<ulong> leases = _leases.AsSpan(first, blocks.Length);
        // The block that was put last comes first.
        for (int i = 0, from = blocks.Length - 1; i < blocks.Length; i++, from--)
            blocks[i] = new FreeBlock(Number, indices[from], leases[from]);
        Count = first;
    }

    public void Push(ReadOnlySpan<FreeBlock> blocks)
    {
        Span<int> indices = _indices.AsSpan(Count, blocks.Length);
        Span<ulong> leases = _leases.AsSpan(Count, blocks.Length);
        for (int i = 0; i < blocks.Length; i++)
        {
            indices[i] = blocks[i].Index;
            leases[i] = blocks[i].Lease;
        }
        Count += blocks.Length;
    }
}
