namespace AllocTools.Connections;

/// <summary>What connections have done so far, and how many there are.</summary>
public sealed record RmaConnectionStatistics
{
    /// <summary>Connections that are open.</summary>
    public int Active { get; init; }

    /// <summary>Ended connections whose peer may still write to their memory.</summary>
    public int Ending { get; init; }

    /// <summary>Bytes that were handed over to be written, of all connections so far.</summary>
    public long BytesSent { get; init; }

    /// <summary>Bytes that have come, of all connections so far.</summary>
    public long BytesReceived { get; init; }

    /// <summary>How often a write had to wait for room in the peer's memory.</summary>
    public long CreditStalls { get; init; }

    /// <summary>For how long writes had to wait for room in the peer's memory.</summary>
    public TimeSpan CreditStallTime { get; init; }

    /// <summary>Connections that have ended as they should.</summary>
    public long EndsInOrder { get; init; }

    /// <summary>Connections that have ended otherwise, by error: aborted, peer_aborted, peer_ended, peer_silent, protocol, integrity, peer_integrity, refused, close_timeout, disposed, closed, or the transport's error.</summary>
    public IReadOnlyDictionary<string, long> EndsByError { get; init; } = new Dictionary<string, long>();

    /// <summary>Set-ups that have failed at this side, by error: setup_timeout, authentication, refused, provider, options, too_many, peer_ended, protocol, or the socket's or the pool's error. Those that the caller has cancelled are not among them.</summary>
    public IReadOnlyDictionary<string, long> SetUpFailuresByError { get; init; } = new Dictionary<string, long>();
}
