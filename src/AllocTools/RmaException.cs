namespace AllocTools;

/// <summary>The base of the errors that a pool, a provider or an endpoint reports.</summary>
public class RmaException : Exception
{
    /// <summary>Creates an error.</summary>
    /// <param name="message">The message, with the failure, where it happened, the value found and what to do.</param>
    /// <param name="errorCode">The positive errno or fi_errno value, or 0.</param>
    /// <param name="errorName">The symbol of that value, such as <c>FI_ENOMEM</c>, or an empty string.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public RmaException(string message, int errorCode = 0, string errorName = "", Exception? innerException = null)
        : base(message, innerException)
    {
        ErrorCode = errorCode;
        ErrorName = errorName;
    }

    /// <summary>The positive errno or fi_errno value (fi_errno(3)), or 0 if none applies.</summary>
    public int ErrorCode { get; }

    /// <summary>The symbol of <see cref="ErrorCode"/>, such as <c>FI_ENOMEM</c>, or an empty string.</summary>
    public string ErrorName { get; }

    /// <summary>
    /// Whether the same request may succeed later, for example after a time-out, at the cap, or once a lost peer has
    /// been inserted again. False if it will keep failing until the program or its settings change.
    /// </summary>
    public bool IsTransient { get; init; }
}
