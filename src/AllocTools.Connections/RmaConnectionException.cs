namespace AllocTools.Connections;

/// <summary>A connection could not be set up, or the peer does not keep to the protocol. The message says why.</summary>
public sealed class RmaConnectionException : IOException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">The message: what happened, and what to do.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public RmaConnectionException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>The name of the error in metrics.</summary>
    internal string ErrorType { get; init; } = "protocol";
}
