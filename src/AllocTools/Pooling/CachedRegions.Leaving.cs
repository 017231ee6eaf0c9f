using AllocTools.Caching;

namespace AllocTools.Pooling;

/// <content>Memory goes: its owner says so, or the collector has found that an array has none.</content>
internal sealed partial class CachedRegions
{
    /// <summary>A finalizer calls this: it only passes the word on.</summary>
    public void OnCollected(CacheEntry.Watch watch)
    {
        _collected.Enqueue(watch);
        // To start a thread is not for the finalizer's.
        ThreadPool.UnsafeQueueUserWorkItem(static sweeper => sweeper.Signal(), _sweeper, preferLocal: false);
    }

    /// <summary>No later request finds what has a byte of the range. What is idle of it is deregistered when this returns.</summary>
    /// <param name="start">The first byte.</param>
    /// <param name="end">The first byte behind it.</param>
    /// <param name="awaitsUse">What is leased, or being registered, and goes with its last lease, is waited for.</param>
    /// <returns>Ends when all of it is deregistered; fails where some could not be. Null: some is in use, and that is not waited for.</returns>
    public Task? Invalidate(ulong start, ulong end, bool awaitsUse)
    {
        List<CacheEntry>? leaving = null;
        List<CacheEntry> touching = [];
        List<Task> gone = [];
        bool isInUse = false;
        lock (_gate)
        {
            foreach (CacheEntry entry in _index.FindTouching(start, end))
                Retire_NeedsLock(entry, ref _invalidations, ref leaving);
            foreach (CacheEntry entry in _outside.Concat(_registering))
            {
                if (!entry.Touches(start, end))
                    continue;
                entry.IsInvalidated = true;
                touching.Add(entry);
                isInUse |= !entry.IsLeaving;
            }
            // A task that nobody has would report its failure to nobody.
            if (!isInUse || awaitsUse)
                gone.AddRange(touching.Select(e => e.EnsureGone().Task));
        }
        Deregister(leaving);
        return isInUse && !awaitsUse ? null : Task.WhenAll(gone);
    }

    /// <summary>Waits for a sweep under way: what that has taken out nobody else gives back.</summary>
    private void AwaitSweep()
    {
        lock (_sweeping)
        {
            // Nothing to do but to wait.
        }
    }

    /// <summary>Deregisters the memory of arrays that nothing refers to any more.</summary>
    private TimeSpan Sweep()
    {
        while (_collected.TryDequeue(out CacheEntry.Watch? watch))
        {
            using Lock.Scope sweeping = _sweeping.EnterScope();
            CacheEntry entry = watch.Entry;
            bool isIdle;
            lock (_gate)
            {
                if (entry.IsGone)
                    continue;
                isIdle = entry.IsIdle;
                if (isIdle)
                {
                    Begin_NeedsLock(entry, ref _collections);
                    entry.KeepWatch(watch);
                }
                else if (entry.IsLeaving)
                {
                    // Another thread deregisters it, and has the entry.
                    entry.KeepWatch(watch);
                }
                else
                {
                    // A finalizer has made the array live again, and it was leased meanwhile.
                    GC.ReRegisterForFinalize(watch);
                }
            }
            if (isIdle)
                Deregister(entry);
            GC.KeepAlive(watch);
        }
        return Timeout.InfiniteTimeSpan;
    }
}
