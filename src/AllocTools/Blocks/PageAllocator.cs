using AllocTools.Interop;

namespace AllocTools.Blocks;

/// <summary>Anonymous private pages: mmap(2), or VirtualAlloc on Windows.</summary>
public sealed class PageAllocator : IBlockAllocator
{
    /// <inheritdoc/>
    public int PageSize => Environment.SystemPageSize;

    /// <inheritdoc/>
    public nint Allocate(long length, bool populate)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        if (length % PageSize != 0)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"The length is a multiple of the page size, {PageSize} bytes.");
        int error = SystemPages.Map((nuint)length, out nint address);
        if (error != 0)
            throw new InsufficientMemoryException($"The system has no {length} bytes of memory for the pool: {SystemPages.Describe(error)}.");
        if (populate && (error = SystemPages.Populate(address, (nuint)length)) != 0)
        {
            Free(address, length);
            throw new InsufficientMemoryException($"The system can't back {length} bytes of the pool with memory: {SystemPages.Describe(error)}.");
        }
        return address;
    }

    /// <inheritdoc/>
    public void Free(nint address, long length)
    {
        int error = SystemPages.Unmap(address, (nuint)length);
        if (error != 0)
            throw new ArgumentException($"{length} bytes could not be unmapped: {SystemPages.Describe(error)}. They were not allocated here, or were freed before.", nameof(address));
    }
}
