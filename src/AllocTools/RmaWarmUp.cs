namespace AllocTools;

/// <summary>When a host registers the initial blocks of a pool's size classes.</summary>
public enum RmaWarmUp
{
    /// <summary>Before any hosted service starts. A failure fails the start.</summary>
    BeforeStart = 0,

    /// <summary>
    /// While the application starts and runs; until it is done, rents register memory themselves as needed. A failure
    /// is logged, and the pool's health check reports unhealthy.
    /// </summary>
    Background = 1,
}
