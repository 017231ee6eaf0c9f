namespace AllocTools.Blocks;

/// <summary>How a <see cref="PageAllocator"/> asks for memory.</summary>
public sealed record PageAllocatorOptions
{
    /// <summary>The pages. Default: <see cref="RmaHugePages.Transparent"/>.</summary>
    public RmaHugePages HugePages { get; init; }

    /// <summary>
    /// The NUMA node that memory comes from as long as it has some; null: the node of the thread that asks (Linux).
    /// Range: 0 to 1,023, a node that exists. Default: null.
    /// </summary>
    public int? NumaNode { get; init; }

    /// <summary>A node that can't be asked for is an error, and not passed over. Default: true.</summary>
    public bool NumaNodeRequired { get; init; } = true;
}
