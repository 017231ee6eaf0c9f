namespace AllocTools.Endpoints;

/// <summary>
/// Thrown when the peer is lost: its process or endpoint is gone, or the connection to it was broken. Operations to it
/// fail at once until it is inserted again (<see cref="IRmaEndpoint.InsertPeer"/>).
/// </summary>
public sealed class RmaPeerLostException : RmaOperationException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">The message: the operation, why the peer is lost, the provider, and what to do.</param>
    /// <param name="kind">The operation.</param>
    /// <param name="peer">The peer.</param>
    /// <param name="errorCode">The positive errno or fi_errno value.</param>
    /// <param name="errorName">The symbol of the error code.</param>
    public RmaPeerLostException(string message, RmaOperationKind kind, RmaPeer peer, int errorCode, string errorName)
        : base(message, kind, errorCode, errorName)
    {
        Peer = peer;
        IsTransient = true;
    }

    /// <summary>The peer, as it was inserted.</summary>
    public RmaPeer Peer { get; }
}
