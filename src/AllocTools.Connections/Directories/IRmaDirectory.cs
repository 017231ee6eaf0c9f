namespace AllocTools.Connections.Directories;

/// <summary>Where processes publish by names how they are reached, and find each other. <c>AddRmaDirectory</c> adds one.</summary>
/// <remarks>
/// <para>
/// Each publication has a lease (<see cref="RmaDirectoryOptions.Lease"/>), which the host renews; it vanishes when its process ends in order, or with its lease where
/// the process has died. A name may have a publication of each of several processes; one process has one by a name, and publishing again replaces it.
/// </para>
/// <para>All members are safe to call from any thread.</para>
/// </remarks>
public interface IRmaDirectory
{
    /// <summary>Publishes an entry, or replaces what the same process has published by that name. It is renewed until it is disposed or the host stops.</summary>
    /// <param name="entry">The entry.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>The publication; dispose it to take the entry out.</returns>
    /// <exception cref="ArgumentException">The entry is longer than <see cref="RmaDirectoryOptions.MaxEntryBytes"/>.</exception>
    /// <exception cref="RmaDirectoryException">The directory can't be reached, or refuses the entry. What was published before by that name stays. Where no answer came in time, the entry may be seen until its lease is over.</exception>
    ValueTask<RmaPublication> PublishAsync(RmaDirectoryEntry entry, CancellationToken cancellationToken = default);

    /// <summary>Finds what is published by a name.</summary>
    /// <param name="name">The name.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>One entry for each process, the one that was published last (by the publishers' clocks) first; empty where there is none.</returns>
    /// <exception cref="ArgumentException">It is not a name.</exception>
    /// <exception cref="RmaDirectoryException">The directory can't be reached, or its answer can't be read.</exception>
    ValueTask<IReadOnlyList<RmaDirectoryEntry>> ResolveAsync(string name, CancellationToken cancellationToken = default);

    /// <summary>Follows a name: what is published now, and again all of it after each change.</summary>
    /// <remarks>
    /// A directory that can't be reached does not end the sequence; what it said last is valid until it answers again. Changes that follow each other quickly may come as one.
    /// </remarks>
    /// <param name="name">The name.</param>
    /// <param name="cancellationToken">Ends the sequence.</param>
    /// <exception cref="ArgumentException">It is not a name.</exception>
    IAsyncEnumerable<IReadOnlyList<RmaDirectoryEntry>> WatchAsync(string name, CancellationToken cancellationToken = default);
}
