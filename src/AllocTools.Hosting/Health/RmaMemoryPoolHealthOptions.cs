namespace AllocTools.Hosting.Health;

/// <summary>When a pool's health check says that it is degraded.</summary>
public sealed class RmaMemoryPoolHealthOptions
{
    /// <summary>From this share of the cap on that is out. Range: 0.01 to 1. Default: 0.9.</summary>
    public double MaxRentedShare { get; set; } = 0.9;

    /// <summary>When a request has waited for room for so long. Range: 0 to 24 h. Default: 1 s.</summary>
    public TimeSpan MaxWait { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>For so long after a registration has failed. Range: 0 to 24 h. Default: 60 s.</summary>
    public TimeSpan RegistrationFailurePeriod { get; set; } = TimeSpan.FromSeconds(60);
}
