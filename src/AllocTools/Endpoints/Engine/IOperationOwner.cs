namespace AllocTools.Endpoints.Engine;

/// <summary>An owner that is notified when its operations end, without a task for each (<see cref="RmaEndpoint.TryStart"/>).</summary>
internal interface IOperationOwner
{
    /// <summary>
    /// Called when an operation has ended, inside a progress turn or in the call that started the operation. It must
    /// not block or throw; it may start operations, but must not dispose the endpoint.
    /// </summary>
    /// <param name="context">The operation's <see cref="RmaOperation.Context"/>.</param>
    /// <param name="error">Why the operation failed, possibly with its buffer quarantined; null if it succeeded.</param>
    void OnEnded(ulong context, Exception? error);

    /// <summary>
    /// Like <see cref="OnEnded"/>, but for an abandoned operation that the transport may still execute: its bytes may
    /// reach the peer at any time until the endpoint is closed.
    /// </summary>
    /// <param name="context">The operation's <see cref="RmaOperation.Context"/>.</param>
    /// <param name="error">Why the operation was given up.</param>
    void OnAbandoned(ulong context, Exception error);
}
