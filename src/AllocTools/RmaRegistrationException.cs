namespace AllocTools;

/// <summary>
/// Memory could not be registered or deregistered. The pool stays usable, and nothing is left registered unless
/// <see cref="IsStillRegistered"/> is true.
/// </summary>
public sealed class RmaRegistrationException : RmaException
{
    /// <summary>Creates an error.</summary>
    /// <param name="message">The operation, the error and its name, the length, the provider, and the limit that caused it, if any.</param>
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
    /// Whether the transport had registered the memory, then failed, and could not undo the registration: it may still
    /// access the memory, which must stay mapped permanently. A pool keeps its own memory mapped and the caller's
    /// memory pinned, and counts both.
    /// </summary>
    public bool IsStillRegistered { get; init; }
}
