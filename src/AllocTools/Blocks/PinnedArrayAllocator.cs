using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Blocks;

/// <summary>
/// Memory of arrays that the garbage collector never moves, for code that accepts only arrays, such as the sockets of
/// Kestrel.
/// </summary>
/// <remarks>
/// The memory belongs to the managed heap: it counts against the heap's limit (GCHeapHardLimit), and the pages of a
/// freed array are released when the array is collected. It supports neither huge pages nor a NUMA node.
/// <c>UseRmaMemory</c> gives the array memory of a block to a server; buffers don't use it. All members are safe to
/// call from any thread.
/// </remarks>
public sealed class PinnedArrayAllocator : IBlockAllocator
{
    // This is static because memory that could not be deregistered is never freed, and must outlive the pool and its
    // owner, like mapped memory.
    private static readonly ConcurrentDictionary<nint, byte[]> Arrays = new();

    /// <inheritdoc/>
    public int PageSize => Environment.SystemPageSize;

    /// <inheritdoc/>
    public nint Allocate(long length, bool populate)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        if (length % PageSize != 0)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"The length must be a multiple of the page size, {PageSize} bytes.");
        if (length > Array.MaxLength - PageSize)
            throw new InsufficientMemoryException($"{InWords.Size(length)} are more than an array can have. If the pool's memory consists of arrays, a block must be shorter than 2 GiB.");
        byte[] array;
        try
        {
            // The array has one more page, because it may begin at any address.
            array = GC.AllocateArray<byte>((int)length + PageSize, pinned: true);
        }
        catch (OutOfMemoryException e)
        {
            throw new InsufficientMemoryException($"The managed heap could not provide {InWords.Size(length)} for the pool: {e.Message}", e);
        }
        nint start = Marshal.UnsafeAddrOfPinnedArrayElement(array, 0);
        nint address = (start + PageSize - 1) & -PageSize;
        int error;
        if (populate && (error = SystemPages.PopulateInUse(address, (nuint)length, isWritable: true)) != 0)
            throw new InsufficientMemoryException($"The system can't back {InWords.Size(length)} of the pool with memory: {SystemPages.Describe(error)}. {SystemShortage.Explain(error)}".TrimEnd());
        Arrays[address] = array;
        return address;
    }

    /// <inheritdoc/>
    public void Free(nint address, long length)
    {
        if (!Arrays.TryRemove(address, out _))
            throw new ArgumentException($"{InWords.Size(length)} were not allocated here, or were already freed.", nameof(address));
    }

    /// <summary>Returns the array that contains memory of this allocator.</summary>
    /// <param name="address">The address that <see cref="Allocate"/> returned.</param>
    internal static byte[] ArrayAt(nint address) => Arrays[address];
}
