namespace AllocTools.Connections;

/// <summary>When the health check of connections reports that they are degraded.</summary>
public sealed class RmaConnectionsHealthOptions
{
    /// <summary>
    /// The connections are degraded if the memory of at least this many ended connections is kept. Range: 1 to
    /// 1,048,576. Default: 100.
    /// </summary>
    public int MaxEnding { get; set; } = 100;
}
