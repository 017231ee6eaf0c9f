using System.Diagnostics;
using System.Numerics;

namespace AllocTools.Pooling;

/// <summary>
/// Keeps the slabs of a size class on shelves by how full they are, so that the fullest that has a free block is found
/// at once.
/// </summary>
/// <remarks>
/// Blocks are taken from the fullest slab, so that the others drain and can be given back. Guarded by the class's lock.
/// Invariant: Free = Σ free blocks of the slabs; a slab is on the shelf of its fill, and on none when it has no free block.
/// </remarks>
internal sealed class SlabShelves(TimeProvider time)
{
    // 0: no block is rented. 1 to 14: the more blocks are rented, the higher.
    private const int ShelfCount = 15;
    private const int NoShelf = -1;

    private readonly FreeBlocks?[] _first = new FreeBlocks?[ShelfCount];
    private readonly FreeBlocks?[] _last = new FreeBlocks?[ShelfCount];
    private readonly Stack<int> _freeNumbers = new();
    private FreeBlocks?[] _slabs = [];
    private uint _notEmpty;

    public int Count { get; private set; }

    /// <summary>Registered bytes. Read without the lock, too.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    private long _bytes;

    public long Total { get; private set; }

    public long Free { get; private set; }

    /// <summary>
    /// The bytes of idle slabs that were not there from the start: these may be given back for others. Read without the
    /// lock, too.
    /// </summary>
    public long IdleBytes => Volatile.Read(ref _idleBytes);

    private long _idleBytes;

    /// <summary>The slabs by number. When it has to grow, it is replaced by another array.</summary>
    public Slab?[] ByNumber { get; private set; } = [];

    /// <summary>Takes free blocks: as many as there are, and as fit.</summary>
    public int Take(Span<FreeBlock> blocks)
    {
        int taken = 0;
        while (taken < blocks.Length && _notEmpty != 0)
        {
            int shelf = BitOperations.Log2(_notEmpty);
            // The slab that has been idle longest stays idle, and can be given back.
            FreeBlocks slab = shelf == 0 ? _last[0]! : _first[shelf]!;
            int count = Math.Min(slab.Count, blocks.Length - taken);
            slab.Pop(blocks.Slice(taken, count));
            taken += count;
            Free -= count;
            Place(slab);
        }
        return taken;
    }

    public void Put(ReadOnlySpan<FreeBlock> blocks)
    {
        Free += blocks.Length;
        while (!blocks.IsEmpty)
        {
            // Neighbours in a magazine are mostly of one slab, which then changes its shelf only once.
            int number = blocks[0].Slab;
            int count = 1;
            while (count < blocks.Length && blocks[count].Slab == number)
                count++;
            FreeBlocks slab = _slabs[number]!;
            slab.Push(blocks[..count]);
            Place(slab);
            blocks = blocks[count..];
        }
    }

    public void Add(Slab slab, bool isInitial)
    {
        if (!_freeNumbers.TryPop(out int number))
        {
            number = Count;
            if (number >= _slabs.Length)
            {
                int length = Math.Max(4, _slabs.Length * 2);
                Array.Resize(ref _slabs, length);
                Slab?[] byNumber = ByNumber;
                Array.Resize(ref byNumber, length);
                ByNumber = byNumber;
            }
        }
        slab.Number = number;
        FreeBlocks free = new(slab, number) { Shelf = NoShelf, IsInitial = isInitial };
        _slabs[number] = free;
        ByNumber[number] = slab;
        Count++;
        Volatile.Write(ref _bytes, _bytes + slab.Region.Length);
        Total += slab.BlockCount;
        Free += slab.BlockCount;
        Place(free);
    }

    /// <summary>Returns the slab that has been idle longest, if there is one.</summary>
    /// <param name="initialToo">Whether to include those that were there from the start.</param>
    public FreeBlocks? FindIdle(bool initialToo)
    {
        FreeBlocks? idle = _first[0];
        while (idle is { IsInitial: true } && !initialToo)
            idle = idle.Next;
        return idle;
    }

    /// <summary>Returns the slab that has been idle longest and was not there from the start, if there is one.</summary>
    /// <param name="idleSince">Only if it has been idle since that timestamp or longer.</param>
    /// <param name="keepBlocks">Only if that many blocks stay.</param>
    public FreeBlocks? FindIdle(long idleSince, long keepBlocks)
    {
        for (FreeBlocks? idle = _first[0]; idle is not null && idle.IdleSince <= idleSince; idle = idle.Next)
        {
            if (!idle.IsInitial && Total - idle.Slab.BlockCount >= keepBlocks)
                return idle;
        }
        return null;
    }

    /// <summary>Takes an idle slab out.</summary>
    public void Remove(FreeBlocks idle)
    {
        Debug.Assert(idle.IsIdle, "only an idle slab is given back");
        Unlink(idle);
        _slabs[idle.Number] = null;
        ByNumber[idle.Number] = null;
        _freeNumbers.Push(idle.Number);
        Count--;
        Volatile.Write(ref _bytes, _bytes - idle.Slab.Region.Length);
        Total -= idle.Slab.BlockCount;
        Free -= idle.Slab.BlockCount;
    }

    /// <summary>Takes a free block of a slab that was there from the start.</summary>
    public bool TryTakeInitial(out FreeBlock block)
    {
        for (int shelf = ShelfCount - 1; shelf >= 0; shelf--)
        {
            for (FreeBlocks? slab = _first[shelf]; slab is not null; slab = slab.Next)
            {
                if (!slab.IsInitial)
                    continue;
                block = default;
                slab.Pop(new Span<FreeBlock>(ref block));
                Free--;
                Place(slab);
                return true;
            }
        }
        block = default;
        return false;
    }

    /// <summary>
    /// Returns the bytes of slabs that would be idle if the given number of blocks came back to each one alone, without
    /// those that were there from the start.
    /// </summary>
    public long IdleBytesWith(long blocks)
    {
        long bytes = 0;
        foreach (FreeBlocks? slab in _slabs)
        {
            if (slab is { IsInitial: false } && slab.InUse <= blocks)
                bytes += slab.Slab.Region.Length;
        }
        return bytes;
    }

    /// <summary>
    /// Adds up the bytes of slabs that have a rented block and at least the given length, and those of the others that
    /// were there from the start.
    /// </summary>
    /// <param name="atLeast">Bytes; 0: the first sum includes slabs from the start, if one of their blocks is rented.</param>
    /// <param name="large">The sum of the first.</param>
    /// <param name="kept">The sum of the others.</param>
    public void AddUp(long atLeast, ref long large, ref long kept)
    {
        foreach (FreeBlocks? slab in _slabs)
        {
            if (slab is null)
                continue;
            long length = slab.Slab.Region.Length;
            if (slab.InUse != 0 && (atLeast == 0 || !slab.IsInitial && length >= atLeast))
                large += length;
            else if (slab.IsInitial)
                kept += length;
        }
    }

    /// <summary>The slabs.</summary>
    public IEnumerable<FreeBlocks> Slabs => _slabs.OfType<FreeBlocks>();

    private static int ShelfOf(FreeBlocks slab) => slab.Count == 0 ? NoShelf
        : slab.IsIdle ? 0
        : 1 + (int)((long)slab.InUse * (ShelfCount - 1) / slab.Slab.BlockCount);

    private void Place(FreeBlocks slab)
    {
        int shelf = ShelfOf(slab);
        if (shelf == slab.Shelf)
            return;
        Unlink(slab);
        slab.Shelf = shelf;
        if (shelf == NoShelf)
            return;
        if (shelf == 0)
        {
            slab.IdleSince = time.GetTimestamp();
            CountIdle(slab, 1);
        }
        slab.Previous = _last[shelf];
        if (_last[shelf] is { } last)
            last.Next = slab;
        else
            _first[shelf] = slab;
        _last[shelf] = slab;
        _notEmpty |= 1u << shelf;
    }

    private void Unlink(FreeBlocks slab)
    {
        int shelf = slab.Shelf;
        if (shelf == NoShelf)
            return;
        if (slab.Previous is { } previous)
            previous.Next = slab.Next;
        else
            _first[shelf] = slab.Next;
        if (slab.Next is { } next)
            next.Previous = slab.Previous;
        else
            _last[shelf] = slab.Previous;
        slab.Previous = slab.Next = null;
        slab.Shelf = NoShelf;
        if (shelf == 0)
            CountIdle(slab, -1);
        if (_first[shelf] is null)
            _notEmpty &= ~(1u << shelf);
    }

    private void CountIdle(FreeBlocks slab, int sign)
    {
        if (!slab.IsInitial)
            Volatile.Write(ref _idleBytes, _idleBytes + (sign * slab.Slab.Region.Length));
    }
}
