namespace AllocTools.Blocks;

/// <summary>Gets page-aligned memory from the system, before registration. Safe to call from any thread.</summary>
public interface IBlockAllocator
{
    /// <summary>The size of a page, in bytes: lengths and addresses are multiples of it.</summary>
    int PageSize { get; }

    /// <summary>Gets zeroed memory.</summary>
    /// <param name="length">Bytes, a multiple of <see cref="PageSize"/>.</param>
    /// <param name="populate">Back every page with memory now.</param>
    /// <returns>The first byte.</returns>
    /// <exception cref="InsufficientMemoryException">The system has none; nothing is left behind.</exception>
    nint Allocate(long length, bool populate);

    /// <summary>Gives memory back to the system.</summary>
    /// <param name="address">What <see cref="Allocate"/> returned.</param>
    /// <param name="length">The length it was asked for.</param>
    /// <exception cref="Exception">The memory stays mapped. A pool logs it, and counts the bytes against its cap.</exception>
    void Free(nint address, long length);
}
