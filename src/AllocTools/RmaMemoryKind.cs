namespace AllocTools;

/// <summary>Where memory lives. Only <see cref="Host"/> is served; device kinds (FI_HMEM, dma-buf) are refused by name.</summary>
public enum RmaMemoryKind
{
    /// <summary>Ordinary memory of this process.</summary>
    Host = 0,
}
