using AllocTools.Endpoints.Addressing;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools.Endpoints.Engine;

/// <summary>What every endpoint checks of an operation.</summary>
internal static class EndpointChecks
{
    private static readonly TimeSpan Longest = TimeSpan.FromHours(24);

    /// <summary>
    /// Finds what is wrong with an operation before anything is done for it: each mistake is the same exception whatever the
    /// transport, and names the parameter of the method that takes the operation with a task. <see cref="AsPosted"/>
    /// makes it that of <see cref="IRmaEndpoint.TryPost"/>.
    /// </summary>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="context">Its context.</param>
    /// <param name="operation">The operation.</param>
    /// <exception cref="ArgumentException">The memory, or the peer, is not one that the endpoint can use, or too short.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the peer did not expose its memory for that.</exception>
    /// <exception cref="RmaOperationException">It would write to memory that the process may only read.</exception>
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
                $"The {operation.Local.Buffer} is on another context{(OtherProvider(operation.Local.Buffer.Context, context) is { } other ? $", of provider '{other}'," : "")} than this endpoint of provider '{context.Traits.ProviderName}'. Rent from a pool on the endpoint's own context (IRmaEndpoint.Context), or open the endpoint on the pool's.",
                LocalNameOf(kind));
        }
    }

    private static string? OtherProvider(IRmaContext context, IRmaContext own) =>
        context.Traits.ProviderName == own.Traits.ProviderName ? null : context.Traits.ProviderName;

    /// <summary>The parameter that an operation's own memory is.</summary>
    public static string LocalNameOf(RmaOperationKind kind) => kind switch
    {
        RmaOperationKind.Write => "source",
        RmaOperationKind.Read => "destination",
        RmaOperationKind.Send => "message",
        _ => "buffer",
    };

    /// <summary>The parameter that an operation's peer, or the peer's memory, is.</summary>
    public static string RemoteNameOf(RmaOperationKind kind) => kind switch
    {
        RmaOperationKind.Write => "destination",
        RmaOperationKind.Read => "source",
        _ => "peer",
    };

    /// <summary>The same mistake in a posted operation, which is one parameter.</summary>
    /// <param name="error">The error, by the name of another parameter.</param>
    /// <param name="parameter">The parameter.</param>
    public static ArgumentException AsPosted(ArgumentException error, string parameter)
    {
        string suffix = $" (Parameter '{error.ParamName}')";
        string message = error.Message.EndsWith(suffix, StringComparison.Ordinal) ? error.Message[..^suffix.Length] : error.Message;
        return new ArgumentException(message, parameter, error);
    }

    /// <exception cref="ArgumentException">The peer is another endpoint's, or the default value.</exception>
    public static void ThrowIfNotInsertedAt(IRmaEndpoint endpoint, RmaPeer peer, string parameter)
    {
        if (peer.Entry is null)
            throw new ArgumentException("The peer is the default value; insert it at this endpoint (InsertPeer).", parameter);
        if (ReferenceEquals(peer.Owner, endpoint))
            return;
        // What is used is named: a write or read names memory that the other endpoint has imported.
        string what = parameter is "source" or "destination" ? $"The remote memory was imported by another endpoint, from peer {peer.Handle}" : $"Peer {peer.Handle} was inserted at another endpoint";
        throw new ArgumentException(
            $"{what} ({Describe(peer.Owner)}), and can't be used at this one ({Describe(endpoint)}). Insert the peer here (InsertPeer), and import its memory here (Import).",
            parameter);
    }

    private static string Describe(IRmaEndpoint endpoint) =>
        $"{(endpoint.GetStatistics().State == RmaEndpointState.Closed ? "closed, " : "")}provider '{endpoint.Context.Traits.ProviderName}'";

    /// <exception cref="ArgumentException">Nothing can be done with the memory.</exception>
    public static void ThrowIfGrantsNothing(in RemoteMemory memory)
    {
        if ((memory.Access & (RmaAccess.RemoteRead | RmaAccess.RemoteWrite)) == 0)
            throw new ArgumentException($"The remote memory grants {memory.Access}, neither RemoteRead nor RemoteWrite: it is the default value, or no exposure's. Pass what the peer's exposure says.", nameof(memory));
    }

    /// <summary>Checks a peer's memory against this side's transport, and against what the peer's address said.</summary>
    /// <exception cref="RmaProviderException">The memory can't be reached from here, or is not that peer's.</exception>
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
            throw new RmaProviderException("The memory belongs to another endpoint than the one whose address was inserted: to another peer, or to the same after a restart. Insert the address that came with the memory.");
    }

    /// <exception cref="InvalidOperationException">The peer did not expose its memory for that.</exception>
    private static void ThrowIfNotExposedFor(RmaOperationKind kind, in RemoteMemory memory)
    {
        RmaAccess needed = kind == RmaOperationKind.Write ? RmaAccess.RemoteWrite : RmaAccess.RemoteRead;
        if ((memory.Access & needed) == 0)
            throw new InvalidOperationException($"The peer exposed this memory for {memory.Access}, not for {needed}. Its owner must call Expose with RmaAccess.{needed}, and send what that gives.");
    }

    /// <exception cref="RmaOperationException">It would write to memory that the process may only read.</exception>
    private static void ThrowIfReadOnly(in RmaOperation operation)
    {
        if (operation.Kind is RmaOperationKind.Read or RmaOperationKind.Receive && operation.Local.Buffer.IsReadOnly)
        {
            throw new RmaOperationException(
                $"{operation.Kind} of {InWords.Size(operation.Local.Length)} would write to memory that was registered as memory that is only read, or was read-only then. Register writable memory, and not by RegisterReadOnly.",
                operation.Kind,
                SystemErrors.AccessDenied,
                SystemErrors.NameOf(SystemErrors.AccessDenied));
        }
    }

    /// <exception cref="ArgumentOutOfRangeException">The time-out is none that can be kept.</exception>
    public static void ThrowIfInvalidTimeout(TimeSpan timeout)
    {
        if (timeout != Timeout.InfiniteTimeSpan && (timeout < TimeSpan.Zero || timeout > Longest))
            throw new ArgumentOutOfRangeException(nameof(timeout), timeout, $"The time-out must be between 0 and {Longest.TotalHours} hours, or Timeout.InfiniteTimeSpan.");
    }
}
