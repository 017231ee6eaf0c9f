namespace AllocTools;

/// <summary>The base of the errors that a pool, a provider or an endpoint reports.</summary>
public class RmaException : Exception
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">What failed, where, the value found and what to do.</param>
    /// <param name="errorCode">The positive errno or fi_errno value, or 0.</param>
    /// <param name="errorName">The symbol of that value, such as <c>FI_ENOMEM</c>, or an empty string.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public RmaException(string message, int errorCode = 0, string errorName = "", Exception? innerException = null)
        : base(message, innerException)
    {
        ErrorCode = errorCode;
        ErrorName = errorName;
    }

    /// <summary>The positive errno or fi_errno value (fi_errno(3)), or 0 where none applies.</summary>
    public int ErrorCode { get; }

    /// <summary>The symbol of <see cref="ErrorCode"/>, such as <c>FI_ENOMEM</c>, or an empty string.</summary>
    public string ErrorName { get; }

    /// <summary>
    /// The same request may succeed later: after time-outs, at the cap, and once a lost peer was inserted again. False for
    /// what will fail as long as the program or its settings stay as they are.
    /// </summary>
    public bool IsTransient { get; init; }
}
