using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Diagnostics;

/// <summary>Objects that are observed as long as other code holds them.</summary>
internal sealed class LiveObjects<T>
    where T : class
{
    private readonly Lock _gate = new();
    private readonly List<(WeakReference<T> Reference, string PoolName)> _all = [];

    /// <summary>Adds an object, or changes its pool's name.</summary>
    public void Add(T item, string poolName)
    {
        lock (_gate)
        {
            Forget_NeedsLock(item);
            _all.Add((new WeakReference<T>(item), poolName));
        }
    }

    /// <summary>Removes an object.</summary>
    /// <returns>False if it was not found.</returns>
    public bool TryRemove(T item, [NotNullWhen(true)] out string? poolName)
    {
        lock (_gate)
        {
            poolName = Forget_NeedsLock(item);
            return poolName is not null;
        }
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

    /// <summary>Removes an object, and those that were collected.</summary>
    /// <returns>The name of its pool; null if it was not found.</returns>
    private string? Forget_NeedsLock(T item)
    {
        string? poolName = null;
        _all.RemoveAll(e =>
        {
            if (!e.Reference.TryGetTarget(out T? other))
                return true;
            if (!ReferenceEquals(other, item))
                return false;
            poolName = e.PoolName;
            return true;
        });
        return poolName;
    }
}
