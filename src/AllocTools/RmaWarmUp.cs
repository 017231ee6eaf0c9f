namespace AllocTools;

/// <summary>When a host registers what a pool's size classes are to have at start.</summary>
public enum RmaWarmUp
{
    /// <summary>Before any hosted service starts. A failure fails the start.</summary>
    BeforeStart = 0,

    /// <summary>
    /// While the application starts and runs; until it is done rents register what they need themselves. A failure is
    /// logged, and the pool's health check is unhealthy.
    /// </summary>
    Background = 1,
}
