using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>A pool that can't start, or can't open its endpoint: which one, where its options stand, and why. The cause is the inner exception.</summary>
/// <remarks>
/// As text it is its message alone where the cause is a state of the system or of the options that the message names.
/// The stack of the cause is logged at the level Debug.
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

    /// <summary>The pool's name; <c>default</c> for the unnamed one.</summary>
    public string PoolName { get; }

    /// <summary>The type and the message; with the stack if the cause is not an exception of this library.</summary>
    public override string ToString() =>
        InnerException is RmaException or OptionsValidationException or NotSupportedException or InsufficientMemoryException
            ? $"{GetType().FullName}: {Message}"
            : base.ToString();
}
