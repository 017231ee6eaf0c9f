namespace AllocTools.Endpoints;

/// <summary>
/// An operation did not complete within its time-out: the peer is gone, hangs, or does not progress.
/// Its buffer is quarantined until the completion is read or the endpoint is closed, and may be returned.
/// </summary>
public sealed class RmaTimeoutException : RmaOperationException
{
    /// <inheritdoc cref="RmaOperationException(string, RmaOperationKind, int, string, Exception?)"/>
    public RmaTimeoutException(string message, RmaOperationKind kind, int errorCode, string errorName)
        : base(message, kind, errorCode, errorName) => IsTransient = true;
}
