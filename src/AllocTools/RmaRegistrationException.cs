namespace AllocTools;

/// <summary>
/// Memory could not be registered or deregistered. The pool stays usable, and nothing is left behind but what
/// <see cref="IsStillRegistered"/> tells.
/// </summary>
public sealed class RmaRegistrationException : RmaException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">The operation, the error and its name, the length, the provider, and the limit that is the cause where one is.</param>
    /// <param name="operation">The call that failed, such as <c>fi_mr_regattr</c> or <c>mlock</c>.</param>
    /// <param name="length">The bytes that were to be registered.</param>
    /// <param name="provider">The provider in force, such as <c>verbs;ofi_rxm</c>.</param>
    /// <param name="errorCode">The positive errno or fi_errno value.</param>
    /// <param name="errorName">Its symbol.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public RmaRegistrationException(
        string message, string operation, long length, string provider, int errorCode, string errorName, Exception? innerException = null)
        : base(message, errorCode, errorName, innerException)
    {
        Operation = operation;
        Length = length;
        Provider = provider;
    }

    /// <summary>The call that failed, such as <c>fi_mr_regattr</c> or <c>mlock</c>.</summary>
    public string Operation { get; }

    /// <summary>The bytes that were to be registered.</summary>
    public long Length { get; }

    /// <summary>The provider in force.</summary>
    public string Provider { get; }

    /// <summary>
    /// The transport had registered the memory, failed on the way, and could not undo it: it may still reach the memory,
    /// which must stay mapped permanently. A pool keeps its own mapped and the caller's pinned, and counts both.
    /// </summary>
    public bool IsStillRegistered { get; init; }
}
