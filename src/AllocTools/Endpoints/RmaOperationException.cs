namespace AllocTools.Endpoints;

/// <summary>An operation of an endpoint failed at the transport.</summary>
public class RmaOperationException : RmaException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">The operation, the error and its name, the length, the provider.</param>
    /// <param name="kind">The operation.</param>
    /// <param name="errorCode">The positive errno or fi_errno value.</param>
    /// <param name="errorName">Its symbol.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public RmaOperationException(string message, RmaOperationKind kind, int errorCode, string errorName, Exception? innerException = null)
        : base(message, errorCode, errorName, innerException) => Kind = kind;

    /// <summary>The operation that failed.</summary>
    public RmaOperationKind Kind { get; }
}
