using AllocTools.Endpoints;

namespace AllocTools.Connections.Directories;

/// <summary>Connects to entries of a directory, and uses their memory.</summary>
public static class RmaDirectoryExtensions
{
    /// <summary>Connects to the process that has published an entry.</summary>
    /// <param name="connections">The connections.</param>
    /// <param name="entry">The entry.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="RmaDirectoryException">A different process listens there now: the entry's process has ended. Resolve the name again.</exception>
    /// <inheritdoc cref="RmaConnections.ConnectAsync" path="/exception"/>
    public static async ValueTask<RmaConnection> ConnectAsync(this RmaConnections connections, RmaDirectoryEntry entry, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(connections);
        ArgumentNullException.ThrowIfNull(entry);
        RmaConnection connection = await connections.ConnectAsync(entry.EndPoint, cancellationToken).ConfigureAwait(false);
        if (connection.PeerProcess == entry.Process)
            return connection;
        connection.Abort();
        await connection.DisposeAsync().ConfigureAwait(false);
        throw Stale(entry, "the process that listens there now");
    }

    /// <summary>Imports memory of an entry over a connection to the process that has published it, like <see cref="RmaConnection.Import"/>.</summary>
    /// <param name="connection">A connection to that process.</param>
    /// <param name="entry">The entry.</param>
    /// <param name="exposure">The name of the memory.</param>
    /// <exception cref="ArgumentException">The entry has no memory of that name.</exception>
    /// <exception cref="RmaDirectoryException">The entry belongs to a different process than the connection's peer, for
    /// example one that has ended: its memory is gone.</exception>
    /// <inheritdoc cref="RmaConnection.Import" path="/exception"/>
    public static RemoteRegion Import(this RmaConnection connection, RmaDirectoryEntry entry, string exposure)
    {
        ArgumentNullException.ThrowIfNull(connection);
        ArgumentNullException.ThrowIfNull(entry);
        ArgumentNullException.ThrowIfNull(exposure);
        if (connection.PeerProcess != entry.Process)
            throw Stale(entry, "the connection's peer");
        if (!entry.Exposures.TryGetValue(exposure, out RemoteMemory memory))
            throw new ArgumentException($"The entry '{entry.Name}' has no exposure '{exposure}'; it has {(entry.Exposures.Count == 0 ? "none" : string.Join(", ", entry.Exposures.Keys.Order(StringComparer.Ordinal)))}.", nameof(exposure));
        return connection.Import(memory);
    }

    private static RmaDirectoryException Stale(RmaDirectoryEntry entry, string peer) =>
        new($"The entry '{entry.Name}' was published by a different process than {peer}: that process has ended, and its exposures with it. Resolve the name again.") { ErrorType = "stale" };
}
