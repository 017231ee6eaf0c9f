using System.Collections.Concurrent;
using AllocTools.Caching;
using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>
/// Keeps registrations of callers' memory for the next request for it. This implements
/// <see cref="RmaRegistrationCache"/>.
/// </summary>
/// <remarks>
/// A request that an entry covers gets a lease of that entry. Any other request gets a registration of its own, exactly
/// as long as it is, even if it overlaps or touches entries. A union of them would be registered again and again for a
/// caller who walks over memory in steps, and could not take the place of entries that are in use. Entries that a new
/// one covers leave the cache, at once or after their last lease. So do those of another owner that contain a byte of a
/// request: memory has one owner at a time, and that is the owner of the latest request.
/// Nothing is rounded to pages: the bytes beside a range may belong to another object, which peers must not reach, or
/// to a mapping that is removed sooner.
/// Idle entries form a list, the most recently used at its end. They leave from its start at the limits, at the pool's
/// cap, and when they have been idle for long.
/// Invariants: entries in the index + entries beside it = entries; idle + those with leases = entries; while any entry
/// is idle, the bytes and the number of kept entries are within the limits.
/// The provider, the caller's code and the collector's handles are never called under the lock.
/// </remarks>
internal sealed partial class CachedRegions : SlabOwner
{
    private readonly RegistrationCaches _caches;
    private readonly RmaRegistrationCacheOptions _options;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly CacheIndex _index = new();

    // Beside the index: the entries being registered; those in use that requests no longer find, and those being deregistered.
    private readonly List<CacheEntry> _registering = [];
    private readonly HashSet<CacheEntry> _outside = [];

    private readonly ConcurrentQueue<CacheEntry.Watch> _collected = new();
    private readonly OnDemandThread _sweeper;

    // Held during a sweep.
    private readonly Lock _sweeping = new();

    private readonly IdleEntries _idle = new();

    private int _count;
    private long _bytes;

    // The number of kept entries and their bytes, including those that are being registered.
    private int _keptCount;
    private long _keptBytes;

    private long _leases;
    private bool _isClosed;

    public CachedRegions(PoolParts parts, RegistrationCaches caches, RmaRegistrationCacheOptions options)
        : base(parts)
    {
        _options = options;
        _caches = caches;
        _time = parts.Settings.Time;
        _sweeper = new OnDemandThread($"{parts.Settings.Name} sweeps", parts.Incidents.Guarded("deregistering memory of collected arrays", Sweep));
        caches.Add(this);
    }

    public override long Outstanding => Volatile.Read(ref _leases);

    /// <summary>Idle bytes. Read without the lock.</summary>
    public long IdleBytes => _idle.Bytes;

    /// <summary>Returns the bytes of entries in use that have at least the given length.</summary>
    public long InUse(long atLeast)
    {
        lock (_gate)
        {
            // Usually nothing that long is in use, and hits contend for this lock.
            if (_bytes - _idle.Bytes < atLeast)
                return 0;
            long bytes = 0;
            foreach (CacheEntry entry in _index.Entries)
                bytes += entry.Leases != 0 && entry.Length >= atLeast ? entry.Length : 0;
            return bytes + _outside.Sum(e => !e.IsLeaving && e.Length >= atLeast ? e.Length : 0);
        }
    }

    /// <summary>Returns a lease of memory that is registered already, or is registered now.</summary>
    public RmaBuffer Register(in CallersRange range)
    {
        for (bool hasWaited = false; ; hasWaited = true)
        {
            Parts.Lifetime.CheckOpen();
            CacheEntry? entry;
            List<CacheEntry>? leaving = null;
            RmaBuffer buffer = default;
            bool isMine = false;
            bool isPending = false;
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_isClosed, typeof(RmaRegistrationCache));
                entry = FindOwn_NeedsLock(range, ref leaving);
                if (entry is { Region: null })
                {
                    isPending = true;
                }
                else if (entry is not null)
                {
                    buffer = Lease_NeedsLock(entry, range);
                    // A request that had to wait for a registration is not a hit.
                    _hits += hasWaited ? 0 : 1;
                    _misses += hasWaited ? 1 : 0;
                }
                else
                {
                    _misses++;
                    isMine = true;
                    // A memory manager may count its pins, so a pin must not outlast the leases. An entry that alone is over the limit
                    // must not push out all others.
                    entry = new CacheEntry(this, range, isKept: range.Kind != CallersRangeKind.Manager && range.Length <= _options.MaxBytes);
                    Replace_NeedsLock(entry, ref leaving);
                    TakeOutClosed_NeedsLock(ref leaving);
                    // This is allocated now, because nothing after the registration may fail for lack of memory.
                    _outside.EnsureCapacity(_outside.Count + _index.Count + _registering.Count + 1);
                    _registering.Add(entry);
                    Count_NeedsLock(entry, 1);
                    MakeRoom_NeedsLock(ref leaving);
                }
            }
            // Room is made first, because the system's limit of locked memory may be near.
            Deregister(leaving);
            if (isPending)
            {
                entry!.AwaitSettled();
                continue;
            }
            if (isMine)
                buffer = RegisterNew(entry!, range);
            else if (range.Kind == CallersRangeKind.View)
                CheckEnd(buffer, range);
            Parts.Lifetime.CheckStillOpen(buffer);
            return Parts.Leaks.Sample(buffer);
        }
    }

    private RmaBuffer RegisterNew(CacheEntry entry, in CallersRange range)
    {
        MemoryRegion region;
        try
        {
            entry.Prepare();
            entry.Pin();
            region = RegisterRange(entry);
        }
        catch (Exception e)
        {
            lock (_gate)
            {
                _registering.Remove(entry);
                Count_NeedsLock(entry, -1);
            }
            entry.Settle();
            Release(entry, isDeregistered: !SlabFactory.IsStillRegistered(e), e);
            if (Volatile.Read(ref _isClosed))
                RemoveIfEmpty();
            throw;
        }
        List<CacheEntry>? leaving = null;
        bool isLeased = false;
        try
        {
            lock (_gate)
            {
                _registering.Remove(entry);
                entry.Region = region;
                _bytes += entry.Length;
                _count++;
                try
                {
                    Publish_NeedsLock(entry, ref leaving);
                    RmaBuffer buffer = Lease_NeedsLock(entry, range);
                    isLeased = true;
                    return buffer;
                }
                finally
                {
                    // The process has no memory left. An entry without a lease would never leave.
                    if (!isLeased)
                        TakeOutReturned_NeedsLock(entry);
                }
            }
        }
        finally
        {
            Parts.Memory.InTransit.Leave(entry.Length);
            entry.Settle();
            if (!isLeased)
                Deregister(entry);
            Deregister(leaving);
        }
    }

    /// <summary>Checks whether a file has become shorter since its view was registered, as the first request does.</summary>
    private void CheckEnd(RmaBuffer buffer, in CallersRange range)
    {
        try
        {
            Parts.Callers.CheckEnd(range.Address, range.Length);
        }
        catch
        {
            buffer.Dispose();
            _ = Invalidate(range.Start, range.End, awaitsUse: false);
            throw;
        }
    }

    private MemoryRegion RegisterRange(CacheEntry entry)
    {
        bool isManaged = entry.Kind is CallersRangeKind.Array or CallersRangeKind.PinnedArray;
        try
        {
            return Parts.Callers.Register(entry.Address, entry.Length, isManaged, entry.IsReadOnly, entry.AddressName);
        }
        catch (RmaRegistrationException e) when (!e.IsStillRegistered && TryRetireTouching(entry, out List<CacheEntry>? leaving))
        {
            // MPI does not attach memory of which a part is attached already, so idle entries there give way.
            Deregister(leaving);
            return Parts.Callers.Register(entry.Address, entry.Length, isManaged, entry.IsReadOnly, entry.AddressName);
        }
    }

    /// <summary>Takes out the idle entries that contain a byte of a new one.</summary>
    private bool TryRetireTouching(CacheEntry entry, out List<CacheEntry>? leaving)
    {
        leaving = null;
        lock (_gate)
        {
            foreach (CacheEntry other in _index.FindTouching(entry.Start, entry.End))
            {
                if (other.IsIdle)
                    Retire_NeedsLock(other, ref _replacements, ref leaving);
            }
        }
        return leaving is not null;
    }

    /// <summary>
    /// Returns the entry that covers a request, or one that is being registered and will. An entry of another owner
    /// leaves, as does a read-only one if the request is for memory that is written.
    /// </summary>
    private CacheEntry? FindOwn_NeedsLock(in CallersRange range, ref List<CacheEntry>? leaving)
    {
        ulong start = range.Start;
        ulong end = range.End;
        while (_index.FindCovering(start, end) is { } found)
        {
            if (found.IsOf(range.Owner) && found.Allows(range.IsReadOnly))
                return found;
            Retire_NeedsLock(found, ref _replacements, ref leaving);
        }
        foreach (CacheEntry entry in _registering)
        {
            if (entry.Covers(start, end) && entry.IsOf(range.Owner) && entry.Allows(range.IsReadOnly))
                return entry;
        }
        return null;
    }

    /// <summary>
    /// Takes out the entries that a new one replaces, before it is registered: the system's limits may be near, and
    /// some transports do not register memory twice. Entries of the same owner that are in use stay until it is
    /// registered: if that fails, they may be the only ones.
    /// </summary>
    private void Replace_NeedsLock(CacheEntry entry, ref List<CacheEntry>? leaving)
    {
        foreach (CacheEntry other in _index.FindTouching(entry.Start, entry.End))
        {
            // An entry that will not be kept pushes out none that is.
            if (!other.IsOf(entry.Owner) || (other.IsIdle && entry.IsKept && entry.Covers(other.Start, other.End)))
                Retire_NeedsLock(other, ref _replacements, ref leaving);
        }
    }

    /// <summary>Takes out idle entries whose views were disposed meanwhile.</summary>
    private void TakeOutClosed_NeedsLock(ref List<CacheEntry>? leaving)
    {
        foreach (CacheEntry entry in _idle.FindClosed())
        {
            TakeOutIdle_NeedsLock(entry, ref _invalidations);
            (leaving ??= []).Add(entry);
        }
    }

    /// <summary>
    /// Lets requests find a new entry, unless it was invalidated meanwhile, another one covers it by now, or it would
    /// push out one that stays longer.
    /// </summary>
    private void Publish_NeedsLock(CacheEntry entry, ref List<CacheEntry>? leaving)
    {
        bool isFound = !entry.IsInvalidated && !entry.IsLeaving && !_isClosed;
        foreach (CacheEntry other in _index.FindTouching(entry.Start, entry.End))
        {
            if (!isFound)
                break;
            if (!other.IsOf(entry.Owner))
                Retire_NeedsLock(other, ref _replacements, ref leaving);
            else if (other.Covers(entry.Start, entry.End) && other.Allows(entry.IsReadOnly))
                isFound = false;
            else if (!entry.Covers(other.Start, other.End) && !other.Covers(entry.Start, entry.End))
                continue;
            else if (entry.IsKept || !other.IsKept)
                Retire_NeedsLock(other, ref _replacements, ref leaving);
            else
                isFound = false;
        }
        if (isFound)
            _index.Add(entry);
        else
            _outside.Add(entry);
        entry.IsIndexed = isFound;
    }

    private RmaBuffer Lease_NeedsLock(CacheEntry entry, in CallersRange range)
    {
        Slab view = entry.TakeView(range);
        if (entry.IsIdle)
            _idle.Remove(entry);
        entry.Leases++;
        _leases++;
        entry.ReferStrongly(range.Owner);
        return new RmaBuffer(view, 0, view.Lease(0), range.Length);
    }

    private protected override void TakeBack(Slab slab, int index, ulong nextLease)
    {
        CacheEntry entry = slab.Entry!;
        List<CacheEntry>? leaving = null;
        lock (_gate)
        {
            _leases--;
            entry.PutView(slab);
            if (--entry.Leases == 0)
            {
                if (entry.IsIndexed && entry.IsKept && !entry.IsOwnerClosed && !_isClosed)
                {
                    _idle.Add(entry);
                    MakeRoom_NeedsLock(ref leaving);
                }
                else
                {
                    _invalidations += entry.IsIndexed && entry.IsOwnerClosed ? 1 : 0;
                    TakeOutReturned_NeedsLock(entry);
                    (leaving ??= []).Add(entry);
                }
            }
        }
        Deregister(leaving);
        // This is read after the entry was put in the list: closing the pool looks at the list after it has changed the state.
        if (Parts.Lifetime.IsClosed)
            ReleaseIdle();
    }

    private void Count_NeedsLock(CacheEntry entry, int sign)
    {
        if (!entry.IsKept)
            return;
        _keptCount += sign;
        _keptBytes += sign * entry.Length;
    }
}
