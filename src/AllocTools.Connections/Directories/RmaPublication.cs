using AllocTools.Connections.Directories;

namespace AllocTools.Connections.Directories;

/// <summary>An entry that is published and renewed. Disposing it takes the entry out of the directory.</summary>
public sealed class RmaPublication : IAsyncDisposable
{
    private readonly LeasedDirectory _owner;
    private readonly DirectoryRecord _record;

    internal RmaPublication(LeasedDirectory owner, DirectoryRecord record)
    {
        _owner = owner;
        _record = record;
    }

    /// <summary>What was published.</summary>
    public RmaDirectoryEntry Entry => _record.Entry;

    /// <summary>
    /// Takes the entry out, unless another publication of this process has replaced it. Never throws: where the directory can't be reached, the entry
    /// vanishes with its lease.
    /// </summary>
    public ValueTask DisposeAsync() => _owner.RemoveAsync(_record, CancellationToken.None);
}
