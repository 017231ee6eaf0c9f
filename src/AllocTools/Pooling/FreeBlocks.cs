namespace AllocTools.Pooling;

/// <summary>The free blocks of one slab, last in, first out. Guarded by the lock of its size class.</summary>
internal sealed class FreeBlocks
{
    private readonly int[] _indices;

    public FreeBlocks(Slab slab)
    {
        Slab = slab;
        _indices = new int[slab.BlockCount];
        Count = _indices.Length;
        // Low addresses are handed out first.
        for (int i = 0; i < _indices.Length; i++)
            _indices[i] = _indices.Length - 1 - i;
    }

    public Slab Slab { get; }

    public int Count { get; private set; }

    public int InUse => _indices.Length - Count;

    public bool IsIdle => Count == _indices.Length;

    public int Pop() => _indices[--Count];

    public void Push(int index) => _indices[Count++] = index;
}
