namespace AllocTools.Endpoints.Engine;

/// <summary>Is notified of the ends of its operations, without a task of each (<see cref="RmaEndpoint.TryStart"/>).</summary>
internal interface IOperationOwner
{
    /// <summary>
    /// An operation has ended. Called where that is found: inside a progress turn, or in the call that started it. It must not block or
    /// throw; it may start operations, but not dispose the endpoint.
    /// </summary>
    /// <param name="context">The operation's <see cref="RmaOperation.Context"/>.</param>
    /// <param name="error">Why it failed, maybe with its buffer in quarantine; null where it succeeded.</param>
    void OnEnded(ulong context, Exception? error);

    /// <summary>
    /// As <see cref="OnEnded"/>, of an operation that is given up while the transport may still carry it out: its bytes may reach the peer at any time until the
    /// endpoint is closed.
    /// </summary>
    /// <param name="context">The operation's <see cref="RmaOperation.Context"/>.</param>
    /// <param name="error">Why it was given up.</param>
    void OnAbandoned(ulong context, Exception error);
}
