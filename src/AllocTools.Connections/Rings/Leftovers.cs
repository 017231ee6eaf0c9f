namespace AllocTools.Connections.Rings;

/// <summary>
/// Unused objects that are released outside the lock under which they were found, because releasing them calls the
/// transport.
/// </summary>
/// <param name="gate">The lock.</param>
internal sealed class Leftovers(Lock gate)
{
    private readonly Stack<IDisposable> _items = new();
    private volatile bool _hasAny;

    public void Add_NeedsLock(IDisposable item)
    {
        _items.Push(item);
        _hasAny = true;
    }

    /// <summary>Releases all objects. The caller must not hold the lock.</summary>
    public void Dispose()
    {
        while (_hasAny)
        {
            IDisposable? item;
            lock (gate)
            {
                if (!_items.TryPop(out item))
                    _hasAny = false;
            }
            item?.Dispose();
        }
    }
}
