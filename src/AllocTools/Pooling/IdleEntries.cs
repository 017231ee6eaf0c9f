namespace AllocTools.Pooling;

/// <summary>
/// The idle entries of a registration cache, in the order of their last use. Guarded by the cache's lock, except for
/// <see cref="Bytes"/>.
/// </summary>
internal sealed class IdleEntries
{
    private long _bytes;

    // The number of views of mapped files: they may be disposed at any time, and nothing reports that.
    private int _views;

    /// <summary>The one that was used longest ago.</summary>
    public CacheEntry? Oldest { get; private set; }

    /// <summary>The one that was used last.</summary>
    public CacheEntry? Newest { get; private set; }

    public int Count { get; private set; }

    /// <summary>The bytes of the entries. May be read without the lock.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Adds an entry whose last lease was returned, and which stays.</summary>
    public void Add(CacheEntry entry)
    {
        entry.ReferWeakly();
        entry.IsIdle = true;
        entry.IdleSince = long.MaxValue;
        entry.Older = Newest;
        if (Newest is null)
            Oldest = entry;
        else
            Newest.Newer = entry;
        Newest = entry;
        Change(entry, 1);
    }

    /// <summary>Removes an entry that is leased again, or leaves the cache.</summary>
    public void Remove(CacheEntry entry)
    {
        if (entry.Older is null)
            Oldest = entry.Newer;
        else
            entry.Older.Newer = entry.Newer;
        if (entry.Newer is null)
            Newest = entry.Older;
        else
            entry.Newer.Older = entry.Older;
        entry.Older = entry.Newer = null;
        entry.IsIdle = false;
        Change(entry, -1);
    }

    /// <summary>Dates the entries that have become idle since the last call: they are idle since now, at the latest.</summary>
    public void Date(long now)
    {
        for (CacheEntry? entry = Newest; entry is not null; entry = entry.Older)
        {
            if (entry.IdleSince == long.MaxValue)
                entry.IdleSince = now;
        }
    }

    /// <summary>Returns the entries whose views have been disposed.</summary>
    public IReadOnlyList<CacheEntry> FindClosed()
    {
        if (_views == 0)
            return [];
        List<CacheEntry> closed = [];
        for (CacheEntry? entry = Newest; entry is not null; entry = entry.Older)
        {
            if (entry.IsOwnerClosed)
                closed.Add(entry);
        }
        return closed;
    }

    private void Change(CacheEntry entry, int sign)
    {
        Count += sign;
        Volatile.Write(ref _bytes, _bytes + (sign * entry.Length));
        _views += entry.Kind == CallersRangeKind.View ? sign : 0;
    }
}
