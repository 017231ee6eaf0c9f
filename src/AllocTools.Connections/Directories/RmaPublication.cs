using AllocTools.Connections.Directories;

namespace AllocTools.Connections.Directories;

/// <summary>An entry that is published and renewed. Disposing it removes the entry from the directory.</summary>
public sealed class RmaPublication : IAsyncDisposable
{
    private readonly LeasedDirectory _owner;
    private readonly DirectoryRecord _record;

    internal RmaPublication(LeasedDirectory owner, DirectoryRecord record)
    {
        _owner = owner;
        _record = record;
    }

    /// <summary>The published entry.</summary>
    public RmaDirectoryEntry Entry => _record.Entry;

    /// <summary>
    /// Removes the entry, unless another publication of this process has replaced it. It never throws: if the directory
    /// can't be reached, the entry disappears with its lease.
    /// </summary>
    public ValueTask DisposeAsync() => _owner.RemoveAsync(_record, CancellationToken.None);
}
