namespace AllocTools;

/// <summary>Which pages a pool's memory comes in (Linux).</summary>
public enum RmaHugePages
{
    /// <summary>Transparent huge pages where a slab is a multiple of their size, if the kernel has them (madvise(2), MADV_HUGEPAGE).</summary>
    Transparent = 0,

    /// <summary>Ordinary pages only.</summary>
    Off = 1,

    /// <summary>
    /// Pages of the system's default huge page size that were reserved beforehand (<c>vm.nr_hugepages</c>). Each slab and
    /// each direct region is a multiple of one. Where too few are reserved a request fails that needs them.
    /// </summary>
    Explicit = 2,
}
