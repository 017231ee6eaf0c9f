namespace AllocTools.Connections;

/// <summary>A connection could not be set up, or the peer has violated the protocol. The message gives the reason.</summary>
public sealed class RmaConnectionException : IOException
{
    /// <summary>Creates an exception.</summary>
    /// <param name="message">The message: what happened, and what to do.</param>
    /// <param name="innerException">The exception that caused this one; null if there is none.</param>
    public RmaConnectionException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>The name of the error in metrics.</summary>
    internal string ErrorType { get; init; } = "protocol";
}
