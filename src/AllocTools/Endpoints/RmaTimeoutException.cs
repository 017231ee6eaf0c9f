namespace AllocTools.Endpoints;

/// <summary>
/// Thrown when an operation did not complete within its time-out: the peer is gone, hangs, or makes no progress. The
/// operation's buffer may be returned, but is quarantined until the completion is read or the endpoint is closed.
/// </summary>
public sealed class RmaTimeoutException : RmaOperationException
{
    /// <inheritdoc cref="RmaOperationException(string, RmaOperationKind, int, string, Exception?)"/>
    public RmaTimeoutException(string message, RmaOperationKind kind, int errorCode, string errorName)
        : base(message, kind, errorCode, errorName) => IsTransient = true;
}
