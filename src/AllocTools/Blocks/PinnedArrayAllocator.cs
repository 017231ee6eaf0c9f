using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Blocks;

/// <summary>Memory of arrays that the garbage collector never moves, for code that takes arrays alone, such as the sockets of Kestrel.</summary>
/// <remarks>
/// The memory counts as the managed heap's: against its limit (GCHeapHardLimit), and a freed array's pages go back to the system when
/// the collector gets to it. It has neither huge pages of its own nor a NUMA node. A block's memory as an array's is what
/// <c>UseRmaMemory</c> gives to a server; buffers know nothing of it. All members are safe to call from any thread.
/// </remarks>
public sealed class PinnedArrayAllocator : IBlockAllocator
{
    // Static: what could not be deregistered is never freed, and must outlive the pool and whoever made it, as mapped memory does.
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
            throw new InsufficientMemoryException($"{InWords.Size(length)} are more than an array can have. Where the pool's memory is that of arrays, its longest block is less than 2 GiB.");
        byte[] array;
        try
        {
            // One page more, since an array begins anywhere.
            array = GC.AllocateArray<byte>((int)length + PageSize, pinned: true);
        }
        catch (OutOfMemoryException e)
        {
            throw new InsufficientMemoryException($"The managed heap has no {InWords.Size(length)} for the pool: {e.Message}", e);
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
            throw new ArgumentException($"{InWords.Size(length)} were not allocated here, or were freed before.", nameof(address));
    }

    /// <summary>The array that memory of this allocator is in.</summary>
    /// <param name="address">What <see cref="Allocate"/> returned.</param>
    internal static byte[] ArrayAt(nint address) => Arrays[address];
}
