namespace AllocTools;

/// <summary>How far the key that a peer gets by an exposure reaches.</summary>
public enum RmaIsolation
{
    /// <summary>
    /// The key is the slab's: a peer that misuses it reaches the other blocks of that slab, and it stays valid
    /// until the slab is deregistered. Costs nothing; for peers that are trusted.
    /// </summary>
    Shared = 0,

    /// <summary>Each exposure is a registration of its own with a fresh key, deregistered when the exposure ends.</summary>
    PerExposure = 1,
}
