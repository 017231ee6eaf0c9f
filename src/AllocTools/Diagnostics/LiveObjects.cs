namespace AllocTools.Diagnostics;

/// <summary>Objects that are looked at as long as somebody else holds them.</summary>
internal sealed class LiveObjects<T>
    where T : class
{
    private readonly Lock _gate = new();
    private readonly List<(WeakReference<T> Reference, string PoolName)> _all = [];

    /// <summary>Adds one, or changes its pool's name.</summary>
    public void Add(T item, string poolName)
    {
        lock (_gate)
        {
            Forget_NeedsLock(item);
            _all.Add((new WeakReference<T>(item), poolName));
        }
    }

    /// <summary>Takes one out.</summary>
    /// <returns>False: it isn't here.</returns>
    public bool Remove(T item)
    {
        lock (_gate)
            return Forget_NeedsLock(item);
    }

    public List<(T Object, string PoolName)> All()
    {
        List<(T, string)> live = [];
        lock (_gate)
        {
            foreach ((WeakReference<T> reference, string poolName) in _all)
            {
                if (reference.TryGetTarget(out T? item))
                    live.Add((item, poolName));
            }
        }
        return live;
    }

    /// <summary>Takes one out, and those that were collected.</summary>
    private bool Forget_NeedsLock(T item)
    {
        _all.RemoveAll(e => !e.Reference.TryGetTarget(out _));
        return _all.RemoveAll(e => e.Reference.TryGetTarget(out T? other) && ReferenceEquals(other, item)) != 0;
    }
}
