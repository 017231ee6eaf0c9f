namespace AllocTools;

/// <summary>The memory that a peer can reach with the key of an exposure.</summary>
public enum RmaIsolation
{
    /// <summary>
    /// The key is the slab's: a peer that misuses it reaches the other blocks of that slab, and it stays valid
    /// until the slab is deregistered. This costs nothing, and is meant for trusted peers.
    /// </summary>
    Shared = 0,

    /// <summary>Each exposure has its own registration with a new key, which is deregistered when the exposure ends.</summary>
    PerExposure = 1,
}
