namespace AllocTools.Blocks;

/// <summary>The options of a <see cref="PageAllocator"/>.</summary>
public sealed record PageAllocatorOptions
{
    /// <summary>The pages. Default: <see cref="RmaHugePages.Transparent"/>.</summary>
    public RmaHugePages HugePages { get; init; }

    /// <summary>
    /// The NUMA node that memory comes from while it has free memory; null: the node of the allocating thread (Linux).
    /// Range: 0 to 1,023, a node that exists. Default: null.
    /// </summary>
    public int? NumaNode { get; init; }

    /// <summary>Whether a node that can't be used is an error instead of being ignored. Default: true.</summary>
    public bool NumaNodeRequired { get; init; } = true;
}
