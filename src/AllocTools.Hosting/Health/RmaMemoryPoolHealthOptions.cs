namespace AllocTools.Hosting.Health;

/// <summary>When a pool's health check reports that it is degraded.</summary>
public sealed class RmaMemoryPoolHealthOptions
{
    /// <summary>The pool is degraded if at least this share of its cap is rented. Range: 0.01 to 1. Default: 0.9.</summary>
    public double MaxRentedShare { get; set; } = 0.9;

    /// <summary>The pool is degraded if a request has waited for room for this long. Range: 0 to 24 h. Default: 1 s.</summary>
    public TimeSpan MaxWait { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>The pool is degraded for this long after a registration has failed. Range: 0 to 24 h. Default: 60 s.</summary>
    public TimeSpan RegistrationFailurePeriod { get; set; } = TimeSpan.FromSeconds(60);
}
