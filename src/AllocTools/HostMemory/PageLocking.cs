namespace AllocTools.HostMemory;

/// <summary>Whether memory is locked, so that it is never paged out.</summary>
public enum PageLocking
{
    /// <summary>It is locked where the system allows it; where not, one log line says so and the memory is used all the same.</summary>
    BestEffort = 0,

    /// <summary>Memory that can't be locked is refused.</summary>
    Required = 1,

    /// <summary>Nothing is locked.</summary>
    None = 2,
}
