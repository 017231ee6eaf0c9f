using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Buffers;

/// <summary>The blocks of a slab in an array, with the present owner of each block.</summary>
/// <remarks>
/// Memory of an array can't carry a lease, so the owner is found through the array: the array leads to this object, and
/// the offset to the present owner of the block. A returned block has no owner; use of memory after its return is not
/// detected here, as with any array.
/// </remarks>
internal sealed class ArrayBlocks
{
    private static readonly ConditionalWeakTable<byte[], ArrayBlocks> All = [];

    private byte[] _array;
    private readonly int _start;
    private readonly int _blockSize;
    private readonly RmaMemoryOwner?[] _owners;

    /// <param name="array">The array, which must never move.</param>
    /// <param name="address">The address of the first block.</param>
    /// <param name="blockSize">Bytes of a block.</param>
    /// <param name="blockCount">How many there are.</param>
    public ArrayBlocks(byte[] array, nint address, long blockSize, int blockCount)
    {
        _array = array;
        _start = (int)(address - Marshal.UnsafeAddrOfPinnedArrayElement(array, 0));
        _blockSize = (int)blockSize;
        _owners = new RmaMemoryOwner?[blockCount];
        All.Add(array, this);
    }

    /// <summary>Returns a block as memory of the array.</summary>
    public Memory<byte> MemoryOf(int index, int length) => MemoryMarshal.CreateFromPinnedArray(_array, _start + (index * _blockSize), length);

    /// <summary>Sets the owner of a block, which has no other owner.</summary>
    public void Enter(int index, RmaMemoryOwner owner) => Volatile.Write(ref _owners[index], owner);

    /// <summary>Removes the owner of a returned block, unless the block has a new owner by now.</summary>
    public void Leave(int index, RmaMemoryOwner owner) => Interlocked.CompareExchange(ref _owners[index], null, owner);

    /// <summary>Finds the owner of a part of an array.</summary>
    /// <param name="segment">The part: within one block.</param>
    /// <param name="owner">The owner of the block.</param>
    /// <param name="offset">Bytes from the start of the block.</param>
    public static bool TryFind(ArraySegment<byte> segment, [NotNullWhen(true)] out RmaMemoryOwner? owner, out int offset)
    {
        owner = null;
        offset = 0;
        if (segment.Array is null || !All.TryGetValue(segment.Array, out ArrayBlocks? blocks))
            return false;
        int place = segment.Offset - blocks._start;
        // At the end of a block it is an empty part, which could also belong to the next block.
        int index = place / blocks._blockSize;
        if (place < 0 || index >= blocks._owners.Length)
            return false;
        offset = place - (index * blocks._blockSize);
        if (segment.Count > blocks._blockSize - offset)
            return false;
        owner = Volatile.Read(ref blocks._owners[index]);
        return owner is not null;
    }

    /// <summary>
    /// Called when the slab is released: the array no longer belongs to a pool, and is not kept alive by remaining
    /// references to the slab, such as an ended lease.
    /// </summary>
    public void Forget()
    {
        All.Remove(_array);
        _array = [];
    }
}
