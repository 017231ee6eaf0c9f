namespace AllocTools.Endpoints;

/// <summary>What an endpoint knows of a peer.</summary>
public enum RmaPeerState
{
    /// <summary>
    /// Nothing is known against it. A peer begins in this state, and returns to it when it is inserted again after a
    /// loss, or when none of its operations is overdue any more.
    /// </summary>
    Up,

    /// <summary>An operation with it has been outstanding for longer than <see cref="RmaEndpointOptions.SlowPeerTime"/>.</summary>
    Slow,

    /// <summary>It can no longer be reached: operations to it fail at once until it is inserted again.</summary>
    Lost,
}
