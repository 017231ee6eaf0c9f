namespace AllocTools.Connections;

/// <summary>The number of connections, and what they have done so far.</summary>
public sealed record RmaConnectionStatistics
{
    /// <summary>Gets the number of open connections.</summary>
    public int Active { get; init; }

    /// <summary>Gets the number of ended connections whose peer may still write to their memory.</summary>
    public int Ending { get; init; }

    /// <summary>Gets the bytes that were passed to all connections to be written.</summary>
    public long BytesSent { get; init; }

    /// <summary>Gets the bytes that have arrived on all connections.</summary>
    public long BytesReceived { get; init; }

    /// <summary>Gets how often a write had to wait for room in the peer's memory.</summary>
    public long CreditStalls { get; init; }

    /// <summary>Gets for how long writes had to wait for room in the peer's memory.</summary>
    public TimeSpan CreditStallTime { get; init; }

    /// <summary>Gets the number of connections that have ended without an error.</summary>
    public long EndsInOrder { get; init; }

    /// <summary>
    /// Gets the number of connections that have ended with an error, by error: aborted, peer_aborted, peer_ended,
    /// peer_silent, protocol, integrity, peer_integrity, refused, close_timeout, disposed, closed, or the transport's
    /// error.
    /// </summary>
    public IReadOnlyDictionary<string, long> EndsByError { get; init; } = new Dictionary<string, long>();

    /// <summary>
    /// Gets the number of set-ups that have failed on this side, by error: setup_timeout, authentication, refused,
    /// provider, options, too_many, peer_ended, protocol, or the socket's or the pool's error. Set-ups that the caller
    /// has cancelled are not included.
    /// </summary>
    public IReadOnlyDictionary<string, long> SetUpFailuresByError { get; init; } = new Dictionary<string, long>();
}
