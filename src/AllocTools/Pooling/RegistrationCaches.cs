using AllocTools.Caching;

namespace AllocTools.Pooling;

/// <summary>The registration caches of one pool. The counters of closed ones stay in its totals.</summary>
internal sealed class RegistrationCaches
{
    private readonly Lock _gate = new();
    private CachedRegions[] _all = [];
    private RmaRegistrationCacheStatistics? _closed;

    /// <summary>The caches that have registrations, or may have.</summary>
    public IReadOnlyList<CachedRegions> All => Volatile.Read(ref _all);

    /// <summary>The idle bytes of all caches. Read without their locks.</summary>
    public long IdleBytes
    {
        get
        {
            long idle = 0;
            foreach (CachedRegions cache in Volatile.Read(ref _all))
                idle += cache.IdleBytes;
            return idle;
        }
    }

    public void Add(CachedRegions cache)
    {
        lock (_gate)
            _all = [.. _all, cache];
    }

    /// <summary>Takes out a closed cache, which has no memory any more.</summary>
    public void Remove(CachedRegions cache)
    {
        lock (_gate)
        {
            if (!_all.Contains(cache))
                return;
            _all = [.. _all.Where(c => c != cache)];
            _closed = cache.GetCacheStatistics().Plus(_closed);
        }
    }

    public long InUse(long atLeast)
    {
        long bytes = 0;
        foreach (CachedRegions cache in Volatile.Read(ref _all))
            bytes += cache.InUse(atLeast);
        return bytes;
    }

    public long Reclaim(long bytes)
    {
        long reclaimed = 0;
        foreach (CachedRegions cache in Volatile.Read(ref _all))
        {
            if (reclaimed < bytes)
                reclaimed += cache.Reclaim(bytes - reclaimed);
        }
        return reclaimed;
    }

    /// <summary>Returns the statistics of all caches, including closed ones; null if there was none.</summary>
    public RmaRegistrationCacheStatistics? GetStatistics()
    {
        lock (_gate)
        {
            RmaRegistrationCacheStatistics? sum = _closed;
            foreach (CachedRegions cache in _all)
                sum = cache.GetCacheStatistics().Plus(sum);
            return sum;
        }
    }

    /// <summary>Returns one row for all caches, beside those of the size classes; empty if there is no cache.</summary>
    public IEnumerable<RmaSizeClassStatistics> GetRow()
    {
        CachedRegions[] all = Volatile.Read(ref _all);
        if (all.Length == 0)
            return [];
        RmaSizeClassStatistics[] rows = [.. all.Select(c => c.GetStatistics())];
        return
        [
            rows[0] with
            {
                Slabs = rows.Sum(r => r.Slabs),
                RegisteredBytes = rows.Sum(r => r.RegisteredBytes),
                IdleBytes = rows.Sum(r => r.IdleBytes),
                TotalBuffers = rows.Sum(r => r.TotalBuffers),
                IdleBuffers = rows.Sum(r => r.IdleBuffers),
                QuarantinedBuffers = rows.Sum(r => r.QuarantinedBuffers),
            },
        ];
    }
}
