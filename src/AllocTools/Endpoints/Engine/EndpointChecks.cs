using AllocTools.Endpoints.Addressing;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools.Endpoints.Engine;

/// <summary>Checks the arguments of operations, for all endpoints.</summary>
internal static class EndpointChecks
{
    private static readonly TimeSpan Longest = TimeSpan.FromHours(24);

    /// <summary>
    /// Checks an operation before it is started. Each mistake causes the same exception on every transport, which names
    /// the parameter of the method that starts the operation with a task. <see cref="AsPosted"/> changes that to the
    /// parameter of <see cref="IRmaEndpoint.TryPost"/>.
    /// </summary>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="context">Its context.</param>
    /// <param name="operation">The operation.</param>
    /// <exception cref="ArgumentException">The endpoint can't use the memory or the peer, or the memory is too short.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the peer did not expose its memory for
    /// this operation.</exception>
    /// <exception cref="RmaOperationException">The operation would write to memory that the process may only read.</exception>
    public static void ThrowIfInvalid(IRmaEndpoint endpoint, IRmaContext context, in RmaOperation operation)
    {
        RmaOperationKind kind = operation.Kind;
        switch (kind)
        {
            case RmaOperationKind.Write or RmaOperationKind.Read:
                RemoteRegion region = operation.Remote.Region
                    ?? throw new ArgumentException("The remote memory is the default value; import it at this endpoint.", RemoteNameOf(kind));
                ThrowIfNotInsertedAt(endpoint, region.Peer, RemoteNameOf(kind));
                if (operation.Local.Length > operation.Remote.Length)
                {
                    throw new ArgumentException(
                        $"A {(kind == RmaOperationKind.Write ? "write" : "read")} of {InWords.Size(operation.Local.Length)} exceeds the {InWords.Size(operation.Remote.Length)} of the peer's memory. Pass a shorter slice.", LocalNameOf(kind));
                }
                ThrowIfNotExposedFor(kind, region.Memory);
                ThrowIfReadOnly(operation);
                break;
            case RmaOperationKind.Send:
                ThrowIfNotInsertedAt(endpoint, operation.Peer, RemoteNameOf(kind));
                break;
            case RmaOperationKind.Receive:
                ThrowIfReadOnly(operation);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(operation), kind, "There is no such operation.");
        }
        if (!ReferenceEquals(operation.Local.Buffer.Context, context))
        {
            throw new ArgumentException(
                $"The {operation.Local.Buffer} belongs to a different context{(OtherProvider(operation.Local.Buffer.Context, context) is { } other ? $", of provider '{other}'," : "")} than this endpoint of provider '{context.Traits.ProviderName}'. Rent from a pool on the endpoint's own context (IRmaEndpoint.Context), or open the endpoint on the pool's.",
                LocalNameOf(kind));
        }
    }

    private static string? OtherProvider(IRmaContext context, IRmaContext own) =>
        context.Traits.ProviderName == own.Traits.ProviderName ? null : context.Traits.ProviderName;

    /// <summary>Returns the name of the parameter that holds an operation's local memory.</summary>
    public static string LocalNameOf(RmaOperationKind kind) => kind switch
    {
        RmaOperationKind.Write => "source",
        RmaOperationKind.Read => "destination",
        RmaOperationKind.Send => "message",
        _ => "buffer",
    };

    /// <summary>Returns the name of the parameter that holds an operation's peer, or the peer's memory.</summary>
    public static string RemoteNameOf(RmaOperationKind kind) => kind switch
    {
        RmaOperationKind.Write => "destination",
        RmaOperationKind.Read => "source",
        _ => "peer",
    };

    /// <summary>Converts the error to that of a posted operation, which is a single parameter.</summary>
    /// <param name="error">The error, which names another parameter.</param>
    /// <param name="parameter">The name of the posted operation's parameter.</param>
    public static ArgumentException AsPosted(ArgumentException error, string parameter)
    {
        string suffix = $" (Parameter '{error.ParamName}')";
        string message = error.Message.EndsWith(suffix, StringComparison.Ordinal) ? error.Message[..^suffix.Length] : error.Message;
        return new ArgumentException(message, parameter, error);
    }

    /// <exception cref="ArgumentException">The peer belongs to another endpoint, or is the default value.</exception>
    public static void ThrowIfNotInsertedAt(IRmaEndpoint endpoint, RmaPeer peer, string parameter)
    {
        if (peer.Entry is null)
            throw new ArgumentException("The peer is the default value; insert it at this endpoint (InsertPeer).", parameter);
        if (ReferenceEquals(peer.Owner, endpoint))
            return;
        // The message describes the argument: for a write or read, that is memory that the other endpoint has imported.
        string what = parameter is "source" or "destination" ? $"The remote memory was imported by another endpoint, from peer {peer.Handle}" : $"Peer {peer.Handle} was inserted at another endpoint";
        throw new ArgumentException(
            $"{what} ({Describe(peer.Owner)}), and can't be used at this one ({Describe(endpoint)}). Insert the peer here (InsertPeer), and import its memory here (Import).",
            parameter);
    }

    private static string Describe(IRmaEndpoint endpoint) =>
        $"{(endpoint.GetStatistics().State == RmaEndpointState.Closed ? "closed, " : "")}provider '{endpoint.Context.Traits.ProviderName}'";

    /// <exception cref="ArgumentException">The memory grants no access.</exception>
    public static void ThrowIfGrantsNothing(in RemoteMemory memory)
    {
        if ((memory.Access & (RmaAccess.RemoteRead | RmaAccess.RemoteWrite)) == 0)
            throw new ArgumentException($"The remote memory must grant RemoteRead or RemoteWrite; it grants {memory.Access}. It is the default value, or not from an exposure. Pass the RemoteMemory of the peer's exposure.", nameof(memory));
    }

    /// <summary>Checks a peer's memory against this side's transport, and against the contents of the peer's address.</summary>
    /// <exception cref="RmaProviderException">The memory can't be reached from here, or does not belong to that peer.</exception>
    public static void ThrowIfNotOfTransport(in RemoteMemory memory, TransportDescription own, TransportDescription? peer)
    {
        (_, bool takesRaw, ushort keySize) = own.Keys!.Value;
        string? reason = memory.Transport is { } transport ? own.FindReasonAgainst(transport) : null;
        if (reason is null && memory.IsRaw != takesRaw)
            reason = $"it has {(memory.IsRaw ? "a raw" : "an integer")} key, and this side works with {(takesRaw ? "raw" : "integer")} keys";
        if (reason is null && !memory.IsRaw && keySize < sizeof(ulong) && memory.Key >> (8 * keySize) != 0)
            reason = $"its key is longer than the {keySize} bytes that keys have here";
        if (reason is not null)
            throw new RmaProviderException($"The peer's memory can't be used with provider '{own.Provider}': {reason}. Both sides need the same provider.");
        if (memory.Transport?.Context is { } context && peer?.Context is { } peerContext && context != peerContext)
            throw new RmaProviderException("The memory belongs to a different endpoint than the one whose address was inserted: to another peer, or to the same peer after a restart. Insert the address that came with the memory.");
    }

    /// <exception cref="InvalidOperationException">The peer did not expose its memory for this operation.</exception>
    private static void ThrowIfNotExposedFor(RmaOperationKind kind, in RemoteMemory memory)
    {
        RmaAccess needed = kind == RmaOperationKind.Write ? RmaAccess.RemoteWrite : RmaAccess.RemoteRead;
        if ((memory.Access & needed) == 0)
            throw new InvalidOperationException($"The peer exposed this memory for {memory.Access}, not for {needed}. Its owner must call Expose with RmaAccess.{needed}, and send the new RemoteMemory.");
    }

    /// <exception cref="RmaOperationException">The operation would write to memory that the process may only read.</exception>
    private static void ThrowIfReadOnly(in RmaOperation operation)
    {
        if (operation.Kind is RmaOperationKind.Read or RmaOperationKind.Receive && operation.Local.Buffer.IsReadOnly)
        {
            throw new RmaOperationException(
                $"{operation.Kind} of {InWords.Size(operation.Local.Length)} would write to memory that was registered as read-only. Register writable memory, and don't use RegisterReadOnly.",
                operation.Kind,
                SystemErrors.AccessDenied,
                SystemErrors.NameOf(SystemErrors.AccessDenied));
        }
    }

    /// <exception cref="ArgumentOutOfRangeException">The time-out is out of range.</exception>
    public static void ThrowIfInvalidTimeout(TimeSpan timeout)
    {
        if (timeout != Timeout.InfiniteTimeSpan && (timeout < TimeSpan.Zero || timeout > Longest))
            throw new ArgumentOutOfRangeException(nameof(timeout), timeout, $"The time-out must be between 0 and {Longest.TotalHours} hours, or Timeout.InfiniteTimeSpan.");
    }
}
