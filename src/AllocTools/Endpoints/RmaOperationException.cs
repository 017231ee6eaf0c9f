namespace AllocTools.Endpoints;

/// <summary>Thrown when an operation of an endpoint failed at the transport.</summary>
public class RmaOperationException : RmaException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">The message: the operation, the error and its name, the length, and the provider.</param>
    /// <param name="kind">The operation.</param>
    /// <param name="errorCode">The positive errno or fi_errno value.</param>
    /// <param name="errorName">The symbol of the error code.</param>
    /// <param name="innerException">The exception that caused the failure; null if there is none.</param>
    public RmaOperationException(string message, RmaOperationKind kind, int errorCode, string errorName, Exception? innerException = null)
        : base(message, errorCode, errorName, innerException) => Kind = kind;

    /// <summary>The operation that failed.</summary>
    public RmaOperationKind Kind { get; }

    /// <summary>
    /// Whether the failure is transient, and nothing of the attempt remains: no write can still arrive at the peer, and no
    /// read can still change the local memory. Such an operation can be repeated safely, by the program or by the endpoint
    /// (<see cref="RmaEndpointOptions.Retry"/>).
    /// </summary>
    public bool IsRetryable { get; init; }

    /// <summary>How often the endpoint has attempted the operation, 1 or more (<see cref="RmaEndpointOptions.Retry"/>).</summary>
    public int Attempts { get; internal set; } = 1;

    /// <inheritdoc/>
    public override string Message => Attempts == 1 ? base.Message : $"{base.Message} It was tried {Attempts} times.";
}
