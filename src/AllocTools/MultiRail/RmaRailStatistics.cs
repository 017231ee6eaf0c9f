namespace AllocTools.MultiRail;

/// <summary>The statistics of one rail: counters over all peers, and the state at the time of the call.</summary>
public sealed record RmaRailStatistics
{
    /// <summary>The rail's name.</summary>
    public required string Rail { get; init; }

    /// <summary>The number of peers to which the rail is up.</summary>
    public required int Up { get; init; }

    /// <summary>The number of peers to which the rail is down.</summary>
    public required int Down { get; init; }

    /// <summary>How often the rail went down.</summary>
    public required long Failures { get; init; }

    /// <summary>How often the rail came up again.</summary>
    public required long Recoveries { get; init; }

    /// <summary>The bytes of stripes that succeeded.</summary>
    public required long Bytes { get; init; }

    /// <summary>The stripes that failed on the rail and were tried again.</summary>
    public required long RepeatedStripes { get; init; }
}
