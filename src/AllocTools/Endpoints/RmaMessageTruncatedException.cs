namespace AllocTools.Endpoints;

/// <summary>
/// Thrown when a message was longer than the buffer that was posted for it. The message is lost, and the contents of the
/// buffer are unspecified. The endpoint continues to work: a receive loop posts its next receive.
/// </summary>
public sealed class RmaMessageTruncatedException : RmaOperationException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">Both lengths, the provider, and what to do.</param>
    /// <param name="room">The length of the buffer that was posted, in bytes.</param>
    /// <param name="messageLength">The length of the message in bytes; null if the transport does not report it.</param>
    /// <param name="errorCode">The positive fi_errno value.</param>
    /// <param name="errorName">The symbol of the error code.</param>
    public RmaMessageTruncatedException(string message, long room, long? messageLength, int errorCode, string errorName)
        : base(message, RmaOperationKind.Receive, errorCode, errorName)
    {
        Room = room;
        MessageLength = messageLength;
    }

    /// <summary>The length of the buffer that was posted, in bytes.</summary>
    public long Room { get; }

    /// <summary>The length of the message in bytes; null if the transport does not report it.</summary>
    public long? MessageLength { get; }
}
