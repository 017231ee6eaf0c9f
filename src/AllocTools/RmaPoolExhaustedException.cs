namespace AllocTools;

/// <summary>The pool's cap leaves no room for a request, either immediately or within the time that a waiter may wait.</summary>
public sealed class RmaPoolExhaustedException : RmaException
{
    /// <summary>Creates an error.</summary>
    /// <param name="message">The option, its value, and the rented memory.</param>
    /// <param name="requestedLength">The requested length, in bytes.</param>
    /// <param name="limit">The cap in force, in bytes.</param>
    public RmaPoolExhaustedException(string message, long requestedLength, long limit)
        : base(message)
    {
        RequestedLength = requestedLength;
        Limit = limit;
        IsTransient = requestedLength <= limit;
    }

    /// <summary>The requested length, in bytes.</summary>
    public long RequestedLength { get; }

    /// <summary>The cap in force, in bytes.</summary>
    public long Limit { get; }
}
