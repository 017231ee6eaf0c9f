using AllocTools.Caching;

namespace AllocTools.Pooling;

/// <content>The cache's counters, which its lock guards.</content>
internal sealed partial class CachedRegions
{
    private long _hits;
    private long _misses;
    private long _collections;
    private long _invalidations;
    private long _replacements;
    private long _evictions;
    private long _reclaims;
    private long _trims;

    public override RmaSizeClassStatistics GetStatistics()
    {
        lock (_gate)
        {
            return new RmaSizeClassStatistics
            {
                Name = "cached",
                BlockSize = 0,
                Slabs = _count,
                RegisteredBytes = _bytes,
                IdleBytes = _idle.Bytes,
                Hits = 0,
                Misses = 0,
                TotalBuffers = _leases + _idle.Count,
                IdleBuffers = _idle.Count,
                QuarantinedBuffers = Quarantined,
            };
        }
    }

    public RmaRegistrationCacheStatistics GetCacheStatistics()
    {
        lock (_gate)
        {
            return new RmaRegistrationCacheStatistics
            {
                Hits = _hits,
                Misses = _misses,
                Entries = _count,
                IdleEntries = _idle.Count,
                RegisteredBytes = _bytes,
                IdleBytes = _idle.Bytes,
                Leases = _leases,
                Evictions = _evictions,
                Reclaims = _reclaims,
                Trims = _trims,
                Collections = _collections,
                Invalidations = _invalidations,
                Replacements = _replacements,
            };
        }
    }
}
