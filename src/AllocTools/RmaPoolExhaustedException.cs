namespace AllocTools;

/// <summary>The pool's cap leaves no room for a request, at once or within the time a waiter may wait.</summary>
public sealed class RmaPoolExhaustedException : RmaException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">The option, its value, and what is out.</param>
    /// <param name="requestedLength">The length that was asked for, in bytes.</param>
    /// <param name="limit">The cap in force, in bytes.</param>
    public RmaPoolExhaustedException(string message, long requestedLength, long limit)
        : base(message)
    {
        RequestedLength = requestedLength;
        Limit = limit;
        IsTransient = requestedLength <= limit;
    }

    /// <summary>The length that was asked for, in bytes.</summary>
    public long RequestedLength { get; }

    /// <summary>The cap in force, in bytes.</summary>
    public long Limit { get; }
}
