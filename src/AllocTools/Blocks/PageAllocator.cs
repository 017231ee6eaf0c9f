using AllocTools.Interop;

namespace AllocTools.Blocks;

/// <summary>Anonymous private pages: mmap(2), or VirtualAlloc on Windows.</summary>
/// <remarks>
/// Multiples of 2 MiB are aligned to 2 MiB and may become transparent huge pages (Linux): fewer entries in the
/// processor's tables, and in those of a NIC that pins them.
/// </remarks>
public sealed class PageAllocator : IBlockAllocator
{
    private const long HugePageSize = 2 << 20;

    /// <inheritdoc/>
    public int PageSize => Environment.SystemPageSize;

    /// <inheritdoc/>
    public nint Allocate(long length, bool populate)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        if (length % PageSize != 0)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"The length is a multiple of the page size, {PageSize} bytes.");
        bool isHuge = length % HugePageSize == 0;
        int error = isHuge
            ? SystemPages.MapAligned((nuint)length, (nuint)HugePageSize, out nint address)
            : SystemPages.Map((nuint)length, out address);
        if (error != 0)
            throw new InsufficientMemoryException($"The system has no {length} bytes of memory for the pool: {SystemPages.Describe(error)}.");
        // Before the pages are there: they come as huge ones then.
        if (isHuge)
            SystemPages.AdviseHugePages(address, (nuint)length);
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
