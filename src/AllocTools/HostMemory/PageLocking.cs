namespace AllocTools.HostMemory;

/// <summary>Whether memory is locked, so that it is never paged out.</summary>
public enum PageLocking
{
    /// <summary>Memory is locked if the system allows it; otherwise that is logged once, and the memory is used unlocked.</summary>
    BestEffort = 0,

    /// <summary>Memory that can't be locked is refused.</summary>
    Required = 1,

    /// <summary>Memory is not locked.</summary>
    None = 2,
}
