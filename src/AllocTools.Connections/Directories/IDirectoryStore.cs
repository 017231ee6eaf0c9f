namespace AllocTools.Connections.Directories;

/// <summary>
/// A store that keeps records for the time of their leases. Its errors are <see cref="RmaDirectoryException"/>s;
/// <see cref="LeasedDirectory"/> converts all others.
/// </summary>
internal interface IDirectoryStore
{
    /// <summary>
    /// Keeps a record until the end of its lease, and replaces an earlier one of its process under that name. The same
    /// call renews a record. An older record changes nothing.
    /// </summary>
    Task PutAsync(DirectoryRecord record, TimeSpan lease, CancellationToken cancellationToken);

    /// <summary>Removes a record, unless there is a newer one.</summary>
    Task RemoveAsync(DirectoryRecord record, CancellationToken cancellationToken);

    Task<DirectoryAnswer> ReadAsync(string name, CancellationToken cancellationToken);

    /// <summary>Checks at startup whether the store can be reached. Peers are not queried, because they may be starting, too.</summary>
    Task CheckAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Begins to observe changes.</summary>
    ValueTask<IDirectoryWatch> WatchAsync(string name, CancellationToken cancellationToken);
}

/// <summary>Observes the changes of a name.</summary>
internal interface IDirectoryWatch : IAsyncDisposable
{
    /// <summary>Waits until something may have changed, or the time is up. It throws only on the caller's cancellation.</summary>
    Task WaitAsync(DirectoryAnswer known, TimeSpan limit, CancellationToken cancellationToken);
}

/// <summary>Returns the entries under a name.</summary>
/// <param name="Records">One for each process.</param>
/// <param name="FirstEnd">The time until the end of the first lease; infinite if there is none.</param>
/// <param name="State">The state that the store needs to detect a change.</param>
/// <param name="Mistakes">The error of each ignored entry; null if none was.</param>
internal sealed record DirectoryAnswer(IReadOnlyList<DirectoryRecord> Records, TimeSpan FirstEnd, object? State = null, IReadOnlyList<string>? Mistakes = null)
{
    public static DirectoryAnswer None { get; } = new([], Timeout.InfiniteTimeSpan);
}
