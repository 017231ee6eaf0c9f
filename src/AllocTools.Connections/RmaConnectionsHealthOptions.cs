namespace AllocTools.Connections;

/// <summary>When the health check of connections says that they are degraded.</summary>
public sealed class RmaConnectionsHealthOptions
{
    /// <summary>From this number of connections on that are over, and whose memory is kept. Range: 1 to 1,048,576. Default: 100.</summary>
    public int MaxEnding { get; set; } = 100;
}
