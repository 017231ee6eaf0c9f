using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Buffers;

/// <summary>The blocks of a slab that lies in an array, and the owner that each has as memory of the array.</summary>
/// <remarks>
/// Memory of an array has no room for a lease, so the way back is by the array: it leads here, and the place in it to the owner that
/// has the block at that time. What was returned has none; memory that is used after its return is not caught here, as with any array.
/// </remarks>
internal sealed class ArrayBlocks
{
    private static readonly ConditionalWeakTable<byte[], ArrayBlocks> All = [];

    private byte[] _array;
    private readonly int _start;
    private readonly int _blockSize;
    private readonly RmaMemoryOwner?[] _owners;

    /// <param name="array">The array, which never moves.</param>
    /// <param name="address">Where the first block is.</param>
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

    /// <summary>A block as memory of the array.</summary>
    public Memory<byte> MemoryOf(int index, int length) => MemoryMarshal.CreateFromPinnedArray(_array, _start + (index * _blockSize), length);

    /// <summary>An owner has got a block, which nobody else has.</summary>
    public void Enter(int index, RmaMemoryOwner owner) => Volatile.Write(ref _owners[index], owner);

    /// <summary>An owner has returned its block, which another one may have by now.</summary>
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
        // At the end of a block it is a part of no length, which may stand for the next one as well.
        int index = place / blocks._blockSize;
        if (place < 0 || index >= blocks._owners.Length)
            return false;
        offset = place - (index * blocks._blockSize);
        if (segment.Count > blocks._blockSize - offset)
            return false;
        owner = Volatile.Read(ref blocks._owners[index]);
        return owner is not null;
    }

    /// <summary>The slab is given back: the array is no pool's any more, and is not kept by what still refers to the slab, such as a lease that has ended.</summary>
    public void Forget()
    {
        All.Remove(_array);
        _array = [];
    }
}
