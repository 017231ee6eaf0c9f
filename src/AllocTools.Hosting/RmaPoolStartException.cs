using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>
/// A pool can't start, or can't open its endpoint. The message names the pool, the place of its options, and the
/// reason. The inner exception is the cause.
/// </summary>
/// <remarks>
/// Its text has no stack trace if the cause is a state of the system or of the options that the message describes.
/// The stack trace of the cause is logged at the level Debug.
/// </remarks>
public sealed class RmaPoolStartException : RmaException
{
    internal RmaPoolStartException(PoolRegistration registration, string what, Exception cause, ILogger logger)
        : base(
            $"The pool '{registration.Key.DisplayName}' ({registration.Place}) {what}: {cause.Message}",
            (cause as RmaException)?.ErrorCode ?? 0,
            (cause as RmaException)?.ErrorName ?? "",
            cause)
    {
        PoolName = registration.Key.DisplayName;
        HostingLog.StartFailed(logger, PoolName, what, cause);
    }

    /// <summary>Gets the pool's name; <c>default</c> for the unnamed one.</summary>
    public string PoolName { get; }

    /// <summary>Returns the type and the message, with the stack trace if the cause is not an expected one.</summary>
    public override string ToString() =>
        InnerException is RmaException or OptionsValidationException or NotSupportedException or InsufficientMemoryException
            ? $"{GetType().FullName}: {Message}"
            : base.ToString();
}
