namespace AllocTools.Endpoints;

/// <summary>
/// The peer is lost: its process or endpoint is gone, or the connection to it was broken. Operations to it fail at once
/// until it is inserted again (<see cref="IRmaEndpoint.InsertPeer"/>).
/// </summary>
public sealed class RmaPeerLostException : RmaOperationException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">The operation, why the peer is lost, the provider, what to do.</param>
    /// <param name="kind">The operation.</param>
    /// <param name="peer">The peer.</param>
    /// <param name="errorCode">The positive errno or fi_errno value.</param>
    /// <param name="errorName">Its symbol.</param>
    public RmaPeerLostException(string message, RmaOperationKind kind, RmaPeer peer, int errorCode, string errorName)
        : base(message, kind, errorCode, errorName)
    {
        Peer = peer;
        IsTransient = true;
    }

    /// <summary>The peer, as it was inserted.</summary>
    public RmaPeer Peer { get; }
}
