namespace AllocTools.Endpoints;

/// <summary>An operation to be posted without a task (<see cref="IRmaEndpoint.TryPost"/>).</summary>
public readonly struct RmaOperation
{
    private RmaOperation(RmaOperationKind kind, RmaSlice local, RemoteSlice remote, RmaPeer peer, ulong context, ulong? notification = null)
    {
        Kind = kind;
        Local = local;
        Remote = remote;
        Peer = peer;
        Context = context;
        Notification = notification;
    }

    /// <summary>The kind of operation.</summary>
    public RmaOperationKind Kind { get; }

    /// <summary>This process's memory.</summary>
    public RmaSlice Local { get; }

    /// <summary>The peer's memory, for a read or a write.</summary>
    public RemoteSlice Remote { get; }

    /// <summary>The peer, for a send.</summary>
    public RmaPeer Peer { get; }

    /// <summary>The peer of any kind of operation; the default value for a receive.</summary>
    internal RmaPeer Destination => Remote.Region is { } region ? region.Peer : Peer;

    /// <summary>The caller's own number, which is returned in <see cref="RmaCompletion.Context"/>.</summary>
    public ulong Context { get; }

    /// <summary>The notification that a write sends to its target; null for none.</summary>
    public ulong? Notification { get; }

    /// <summary>Writes local memory to a peer's.</summary>
    /// <param name="source">The bytes to write.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <param name="context">The caller's own number.</param>
    public static RmaOperation Write(RmaSlice source, RemoteSlice destination, ulong context = 0) =>
        new(RmaOperationKind.Write, source, destination, default, context);

    /// <summary>Writes local memory to a peer's memory, and sends the peer a number once the bytes are there.</summary>
    /// <param name="source">The bytes to write, 1 byte or more.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <param name="notification">The number; it must fit into the traits' <see cref="Regions.RmaProviderTraits.NotificationSize"/> bytes.</param>
    /// <param name="context">The caller's own number.</param>
    public static RmaOperation WriteAndNotify(RmaSlice source, RemoteSlice destination, ulong notification, ulong context = 0) =>
        new(RmaOperationKind.Write, source, destination, default, context, notification);

    /// <summary>Reads a peer's memory into local memory.</summary>
    /// <param name="destination">The destination.</param>
    /// <param name="source">The bytes to read, which must be at least as long as the destination.</param>
    /// <param name="context">The caller's own number.</param>
    public static RmaOperation Read(RmaSlice destination, RemoteSlice source, ulong context = 0) =>
        new(RmaOperationKind.Read, destination, source, default, context);

    /// <summary>Sends a message.</summary>
    /// <param name="message">The message.</param>
    /// <param name="peer">The recipient.</param>
    /// <param name="context">The caller's own number.</param>
    public static RmaOperation Send(RmaSlice message, RmaPeer peer, ulong context = 0) =>
        new(RmaOperationKind.Send, message, default, peer, context);

    /// <summary>Offers a buffer for the next message.</summary>
    /// <param name="buffer">The buffer to receive into.</param>
    /// <param name="context">The caller's own number.</param>
    public static RmaOperation Receive(RmaSlice buffer, ulong context = 0) =>
        new(RmaOperationKind.Receive, buffer, default, default, context);
}
