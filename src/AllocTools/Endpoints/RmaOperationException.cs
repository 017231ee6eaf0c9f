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

    /// <summary>
    /// Whether the failure is a transient one, and nothing is left of the attempt: neither can a write still arrive at the
    /// peer, nor can a read still change the local memory. An operation that failed so can be repeated without danger, by
    /// the program or by the endpoint (<see cref="RmaEndpointOptions.Retry"/>).
    /// </summary>
    public bool IsRetryable { get; init; }

    /// <summary>How often the endpoint has attempted the operation, 1 or more (<see cref="RmaEndpointOptions.Retry"/>).</summary>
    public int Attempts { get; internal set; } = 1;

    /// <inheritdoc/>
    public override string Message => Attempts == 1 ? base.Message : $"{base.Message} It was tried {Attempts} times.";
}
