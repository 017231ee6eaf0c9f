namespace AllocTools;

/// <summary>The kind of pages that a pool's memory consists of (Linux).</summary>
public enum RmaHugePages
{
    /// <summary>
    /// Transparent huge pages, if a slab is a multiple of their size and the kernel supports them (madvise(2),
    /// MADV_HUGEPAGE).
    /// </summary>
    Transparent = 0,

    /// <summary>Ordinary pages only.</summary>
    Off = 1,

    /// <summary>
    /// Pages of the system's default huge page size that were reserved beforehand (<c>vm.nr_hugepages</c>). Each slab
    /// and each direct region is a multiple of that size. A request fails if too few pages are reserved for it.
    /// </summary>
    Explicit = 2,
}
