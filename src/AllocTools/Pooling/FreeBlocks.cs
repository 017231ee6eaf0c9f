namespace AllocTools.Pooling;

/// <summary>The free blocks of one slab, last in, first out; and its place among the slabs of its class. Guarded by the class's lock.</summary>
internal sealed class FreeBlocks
{
    private readonly int[] _indices;

    public FreeBlocks(Slab slab, int number)
    {
        Slab = slab;
        Number = number;
        _indices = new int[slab.BlockCount];
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

    /// <summary>Registered at start, and kept.</summary>
    public bool IsInitial { get; init; }

    /// <summary>When the last block came back, as a timestamp.</summary>
    public long IdleSince { get; set; }

    /// <summary>The shelf it is on, and its neighbours there.</summary>
    public int Shelf { get; set; }

    /// <inheritdoc cref="Shelf"/>
    public FreeBlocks? Previous { get; set; }

    /// <inheritdoc cref="Shelf"/>
    public FreeBlocks? Next { get; set; }

    public int Pop() => _indices[--Count];

    public void Push(int index) => _indices[Count++] = index;
}
