namespace AllocTools.Connections.Directories;

/// <summary>What keeps records for the time of their leases. Its errors are <see cref="RmaDirectoryException"/>s; <see cref="LeasedDirectory"/> makes others into such.</summary>
internal interface IDirectoryStore
{
    /// <summary>Keeps a record until the lease is over, in place of what its process had by that name; also renews it. What is older than what is there changes nothing.</summary>
    Task PutAsync(DirectoryRecord record, TimeSpan lease, CancellationToken cancellationToken);

    /// <summary>Takes a record out, unless a newer one is there.</summary>
    Task RemoveAsync(DirectoryRecord record, CancellationToken cancellationToken);

    Task<DirectoryAnswer> ReadAsync(string name, CancellationToken cancellationToken);

    /// <summary>Whether it can be reached, at the start. Peers are not asked: they may be starting, too.</summary>
    Task CheckAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Begins to take note of changes.</summary>
    ValueTask<IDirectoryWatch> WatchAsync(string name, CancellationToken cancellationToken);
}

/// <summary>Takes note of the changes of a name.</summary>
internal interface IDirectoryWatch : IAsyncDisposable
{
    /// <summary>Waits until something may have changed, or the time is over. Throws nothing but the caller's cancellation.</summary>
    Task WaitAsync(DirectoryAnswer known, TimeSpan limit, CancellationToken cancellationToken);
}

/// <summary>What is published by a name.</summary>
/// <param name="Records">One for each process.</param>
/// <param name="FirstEnd">How long until the first lease is over; infinite where there is none.</param>
/// <param name="State">What the store needs to see a change.</param>
/// <param name="Mistakes">What is wrong with each entry that was left out; null: none was.</param>
internal sealed record DirectoryAnswer(IReadOnlyList<DirectoryRecord> Records, TimeSpan FirstEnd, object? State = null, IReadOnlyList<string>? Mistakes = null)
{
    public static DirectoryAnswer None { get; } = new([], Timeout.InfiniteTimeSpan);
}
