namespace AllocTools.Endpoints;

/// <summary>The state of a peer, as far as an endpoint knows it.</summary>
public enum RmaPeerState
{
    /// <summary>
    /// No problem is known. A peer begins in this state, and returns to it when it is inserted again after a loss, or when
    /// none of its operations is overdue any more.
    /// </summary>
    Up,

    /// <summary>An operation with the peer has been outstanding for longer than <see cref="RmaEndpointOptions.SlowPeerTime"/>.</summary>
    Slow,

    /// <summary>The peer can no longer be reached. Operations to it fail at once until it is inserted again.</summary>
    Lost,
}
