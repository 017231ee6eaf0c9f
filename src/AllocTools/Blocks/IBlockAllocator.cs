namespace AllocTools.Blocks;

/// <summary>Allocates page-aligned memory from the system, before registration. It must be safe to call from any thread.</summary>
public interface IBlockAllocator
{
    /// <summary>The size of a page, in bytes: lengths and addresses are multiples of it.</summary>
    int PageSize { get; }

    /// <summary>Allocates zeroed memory.</summary>
    /// <param name="length">Bytes, a multiple of <see cref="PageSize"/>.</param>
    /// <param name="populate">Whether to back every page with memory immediately.</param>
    /// <returns>The first byte.</returns>
    /// <exception cref="InsufficientMemoryException">The system has no memory; nothing stays allocated.</exception>
    nint Allocate(long length, bool populate);

    /// <summary>Frees memory.</summary>
    /// <param name="address">The address that <see cref="Allocate"/> returned.</param>
    /// <param name="length">The length that was requested.</param>
    /// <exception cref="Exception">The memory stays mapped. A pool logs it, and counts the bytes against its cap.</exception>
    void Free(nint address, long length);
}
