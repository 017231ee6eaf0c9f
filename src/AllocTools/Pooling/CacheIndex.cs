namespace AllocTools.Pooling;

/// <summary>Finds cached registrations by the addresses that they cover.</summary>
/// <remarks>
/// No entry covers another one: when a longer one is added, those that it covers are of no use any more. So entries
/// that are sorted by their starts are sorted by their ends, too, and of all that begin at or before an address the
/// last one reaches farthest. One binary search therefore answers whether any of them covers a range. Entries may
/// overlap otherwise.
/// A new entry moves those after it by one place, 16 bytes each: at most 1 MiB at the 65,536 entries that a cache may have, and 16 KiB at the usual 1,024.
/// </remarks>
internal sealed class CacheIndex
{
    // Kept beside the entries, so that a search reads only one array.
    private ulong[] _starts = new ulong[16];
    private CacheEntry[] _entries = new CacheEntry[16];
    private int _count;

    public int Count => _count;

    /// <summary>The entries, in the order of their addresses.</summary>
    public ReadOnlySpan<CacheEntry> Entries => _entries.AsSpan(0, _count);

    /// <summary>Returns the entry that covers all of a range; null if none does.</summary>
    public CacheEntry? FindCovering(ulong start, ulong end)
    {
        int at = LastFrom(start);
        return at >= 0 && _entries[at].End >= end ? _entries[at] : null;
    }

    /// <summary>Returns the entries that contain a byte of the range.</summary>
    public List<CacheEntry> FindTouching(ulong start, ulong end)
    {
        List<CacheEntry> found = [];
        for (int i = LastFrom(end - 1); i >= 0 && _entries[i].End > start; i--)
            found.Add(_entries[i]);
        return found;
    }

    /// <summary>Adds an entry that covers none of the others, and that none of them covers.</summary>
    public void Add(CacheEntry entry)
    {
        if (_count == _entries.Length)
        {
            Array.Resize(ref _starts, 2 * _count);
            Array.Resize(ref _entries, 2 * _count);
        }
        int at = LastFrom(entry.Start) + 1;
        Array.Copy(_starts, at, _starts, at + 1, _count - at);
        Array.Copy(_entries, at, _entries, at + 1, _count - at);
        _starts[at] = entry.Start;
        _entries[at] = entry;
        _count++;
    }

    public void Remove(CacheEntry entry)
    {
        int at = LastFrom(entry.Start);
        _count--;
        Array.Copy(_starts, at + 1, _starts, at, _count - at);
        Array.Copy(_entries, at + 1, _entries, at, _count - at);
        _entries[_count] = null!;
    }

    /// <summary>Returns the position of the last entry that begins at or before an address; -1 if none does.</summary>
    private int LastFrom(ulong start)
    {
        int found = Array.BinarySearch(_starts, 0, _count, start);
        return found >= 0 ? found : ~found - 1;
    }
}
