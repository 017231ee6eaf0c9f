namespace AllocTools.Connections.Directories;

/// <summary>
/// A directory in which processes publish under names how they can be reached, and find each other.
/// <c>AddRmaDirectory</c> adds one.
/// </summary>
/// <remarks>
/// <para>
/// Each publication has a lease (<see cref="RmaDirectoryOptions.Lease"/>), which the host renews; it is removed when
/// its process ends in order, or with its lease if the process has died. Several processes may publish under one name;
/// each process has one publication per name, and publishing again replaces it.
/// </para>
/// <para>All members are safe to call from any thread.</para>
/// </remarks>
public interface IRmaDirectory
{
    /// <summary>
    /// Publishes an entry, or replaces the one that this process has published under that name. It is renewed until it
    /// is disposed or the host stops.
    /// </summary>
    /// <param name="entry">The entry.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>The publication; dispose it to remove the entry.</returns>
    /// <exception cref="ArgumentException">The entry is longer than <see cref="RmaDirectoryOptions.MaxEntryBytes"/>.</exception>
    /// <exception cref="RmaDirectoryException">The directory can't be reached, or refuses the entry. An earlier
    /// publication under that name stays. If no answer arrived in time, the entry may be visible until the end of its
    /// lease.</exception>
    ValueTask<RmaPublication> PublishAsync(RmaDirectoryEntry entry, CancellationToken cancellationToken = default);

    /// <summary>Finds the entries under a name.</summary>
    /// <param name="name">The name.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>One entry for each process, starting with the one that was published last (by the publishers' clocks);
    /// empty if there is none.</returns>
    /// <exception cref="ArgumentException">It is not a name.</exception>
    /// <exception cref="RmaDirectoryException">The directory can't be reached, or its answer can't be read.</exception>
    ValueTask<IReadOnlyList<RmaDirectoryEntry>> ResolveAsync(string name, CancellationToken cancellationToken = default);

    /// <summary>Watches a name: returns the current entries, and all entries again after each change.</summary>
    /// <remarks>
    /// A directory that can't be reached does not end the sequence; the last entries are valid until it answers again. Changes that follow each other quickly may be combined.
    /// </remarks>
    /// <param name="name">The name.</param>
    /// <param name="cancellationToken">Ends the sequence.</param>
    /// <exception cref="ArgumentException">It is not a name.</exception>
    IAsyncEnumerable<IReadOnlyList<RmaDirectoryEntry>> WatchAsync(string name, CancellationToken cancellationToken = default);
}
