using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Pooling;

/// <summary>
/// Serves requests over the largest class: each gets a registration, rounded to pages, which is kept for a while after
/// its return.
/// </summary>
/// <remarks>
/// An idle region serves a request that wastes at most a quarter of it. Over the limit of idle bytes, the regions that
/// have been idle longest are given back.
/// Invariant: idle + rented + quarantined = regions; idle bytes ≤ the option, except for what is being given back.
/// </remarks>
internal sealed class DirectRegions(PoolParts parts) : SlabOwner(parts)
{
    private readonly Lock _gate = new();
    private readonly long _maxIdleBytes = parts.Settings.MaxIdleDirectBytes;

    // In the order in which they became idle, the oldest first. Each has the time at which it was first found idle, or
    // MaxValue before that: asking the clock at each return would cost as much as the rest of the return.
    private readonly List<(Slab Slab, long Since)> _idle = [];
    private long _idleBytes;
    private long _registeredBytes;
    private readonly HashSet<Slab> _regions = [];
    private long _hits;
    private long _misses;

    public override long Outstanding
    {
        get
        {
            lock (_gate)
                return _regions.Count - _idle.Count;
        }
    }

    public bool TryTakeIdle(long length, out RmaBuffer buffer)
    {
        lock (_gate)
        {
            if (TryTake_NeedsLock(Parts.Memory.RoundToPages(length), out Slab? slab))
            {
                _hits++;
                buffer = new RmaBuffer(slab, 0, slab.Lease(0), length);
                return true;
            }
        }
        buffer = default;
        return false;
    }

    public bool TryTake(long length, out RmaBuffer buffer, bool mayReclaim = true)
    {
        if (TryTakeIdle(length, out buffer))
            return true;
        long bytes = Parts.Memory.RoundToPages(length);
        if (Parts.Memory.Reserve(bytes, bytes, this, mayReclaim) == 0)
            return false;
        Slab slab;
        try
        {
            slab = Parts.Slabs.Create(this, bytes, bytes, 1);
            lock (_gate)
            {
                _misses++;
                _regions.Add(slab);
                _registeredBytes += bytes;
            }
        }
        finally
        {
            Parts.Memory.InTransit.Leave(bytes);
        }
        buffer = new RmaBuffer(slab, 0, slab.Lease(0), length);
        return true;
    }

    /// <summary>Returns the bytes of rented regions that have at least the given length.</summary>
    public long InUse(long atLeast)
    {
        lock (_gate)
        {
            return _regions.Sum(r => r.Region.Length >= atLeast ? r.Region.Length : 0)
                - _idle.Sum(i => i.Slab.Region.Length >= atLeast ? i.Slab.Region.Length : 0);
        }
    }

    /// <summary>Idle bytes. Read without the lock.</summary>
    public long IdleBytes => Volatile.Read(ref _idleBytes);

    private protected override void TakeBack(Slab slab, int index, ulong nextLease)
    {
        Parts.Scrubber.Scrub(slab, index);
        bool isKept = slab.Region.Length <= _maxIdleBytes;
        lock (_gate)
        {
            if (isKept)
            {
                _idle.Add((slab, long.MaxValue));
                _idleBytes += slab.Region.Length;
            }
            else
            {
                _registeredBytes -= slab.Region.Length;
                _regions.Remove(slab);
            }
        }
        // A region that alone is over the limit must not push out all others.
        if (!isKept)
            Parts.Slabs.Destroy(slab);
        KeepUpTo(Parts.Lifetime.IsClosed ? 0 : _maxIdleBytes);
    }

    /// <summary>Gives back idle regions, the oldest first, until the given number of bytes is free again.</summary>
    public long Reclaim(long bytes)
    {
        long reclaimed = 0;
        while (reclaimed < bytes && TryRemoveOldest(0, out Slab? slab))
        {
            Destroy(slab);
            reclaimed += slab.Region.Length;
        }
        return reclaimed;
    }

    public override void ReleaseIdle() => KeepUpTo(0);

    public override void Trim(long idleSince)
    {
        lock (_gate)
        {
            long now = Parts.Settings.Time.GetTimestamp();
            for (int i = _idle.Count - 1; i >= 0 && _idle[i].Since == long.MaxValue; i--)
                _idle[i] = (_idle[i].Slab, now);
        }
        while (TryRemoveOldest(0, out Slab? slab, idleSince))
        {
            Destroy(slab);
            Parts.Counters.CountTrim(slab.Region.Length);
        }
    }

    public override RmaSizeClassStatistics GetStatistics()
    {
        lock (_gate)
        {
            return new RmaSizeClassStatistics
            {
                Name = "direct",
                BlockSize = 0,
                Slabs = _regions.Count,
                RegisteredBytes = _registeredBytes,
                IdleBytes = _idleBytes,
                Hits = _hits,
                Misses = _misses,
                TotalBuffers = _regions.Count,
                IdleBuffers = _idle.Count,
                QuarantinedBuffers = Quarantined,
            };
        }
    }

    private void KeepUpTo(long keepBytes)
    {
        while (TryRemoveOldest(keepBytes, out Slab? slab))
            Destroy(slab);
    }

    /// <summary>Gives back a region that <see cref="TryRemoveOldest"/> has taken out.</summary>
    private void Destroy(Slab slab)
    {
        try
        {
            Parts.Slabs.Destroy(slab);
        }
        finally
        {
            Parts.Memory.InTransit.Leave(slab.Region.Length);
        }
    }

    private bool TryRemoveOldest(long keepBytes, [NotNullWhen(true)] out Slab? slab, long idleSince = long.MaxValue)
    {
        lock (_gate)
        {
            slab = null;
            if (_idle.Count == 0 || _idleBytes <= keepBytes || idleSince != long.MaxValue && _idle[0].Since > idleSince)
                return false;
            slab = _idle[0].Slab;
            Parts.Memory.InTransit.Enter(slab.Region.Length);
            _idle.RemoveAt(0);
            _idleBytes -= slab.Region.Length;
            _registeredBytes -= slab.Region.Length;
            _regions.Remove(slab);
            return true;
        }
    }

    private bool TryTake_NeedsLock(long bytes, [NotNullWhen(true)] out Slab? best)
    {
        best = null;
        int bestAt = -1;
        long most = Math.Min(bytes + bytes / 3, bytes + int.MaxValue);
        for (int i = _idle.Count - 1; i >= 0; i--)
        {
            long length = _idle[i].Slab.Region.Length;
            if (length >= bytes && length <= most && (best is null || length < best.Region.Length))
            {
                best = _idle[i].Slab;
                bestAt = i;
            }
        }
        if (best is null)
            return false;
        _idle.RemoveAt(bestAt);
        _idleBytes -= best.Region.Length;
        return true;
    }
}
