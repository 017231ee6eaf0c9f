namespace AllocTools.Hosting;

/// <summary>A pool that can't start, or can't open its endpoint: which one, where its options stand, and why. The cause is the inner exception.</summary>
public sealed class RmaPoolStartException : RmaException
{
    internal RmaPoolStartException(PoolRegistration registration, string what, Exception cause)
        : base(
            $"The pool '{registration.Key.DisplayName}' ({registration.Place}) {what}: {cause.Message}",
            (cause as RmaException)?.ErrorCode ?? 0,
            (cause as RmaException)?.ErrorName ?? "",
            cause)
    {
        PoolName = registration.Key.DisplayName;
    }

    /// <summary>The pool's name; <c>default</c> for the unnamed one.</summary>
    public string PoolName { get; }
}
