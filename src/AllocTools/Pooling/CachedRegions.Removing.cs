using System.Diagnostics.CodeAnalysis;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <content>
/// Removes entries at the limits, when room is needed, when an owner announces that memory is about to be freed, or
/// when the collector finds that nothing refers to an array.
/// </content>
internal sealed partial class CachedRegions
{
    /// <summary>Passes a watch on to the sweeper. A finalizer calls this, so it does nothing more.</summary>
    public void OnCollected(CacheEntry.Watch watch)
    {
        _collected.Enqueue(watch);
        // The finalizer's thread must not start threads.
        ThreadPool.UnsafeQueueUserWorkItem(static sweeper => sweeper.Signal(), _sweeper, preferLocal: false);
    }

    /// <summary>
    /// Ensures that no later request finds an entry with a byte of the range. Idle entries are deregistered when this
    /// returns.
    /// </summary>
    /// <param name="start">The first byte.</param>
    /// <param name="end">The first byte after it.</param>
    /// <param name="awaitsUse">Whether to wait also for entries that are leased or being registered; they are deregistered after their last lease.</param>
    /// <returns>
    /// A task that ends when all of them are deregistered, and fails if some could not be. Null if some are in use, and
    /// that is not waited for.
    /// </returns>
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
            // Without a caller that awaits it, a task's failure would be reported to nobody.
            if (!isInUse || awaitsUse)
                gone.AddRange(touching.Select(e => e.EnsureGone().Task));
        }
        Deregister(leaving);
        return isInUse && !awaitsUse ? null : Task.WhenAll(gone);
    }

    /// <summary>Waits for a sweep under way, because nothing else gives back what the sweep has taken out.</summary>
    private void AwaitSweep()
    {
        lock (_sweeping)
        {
            // Taking the lock is the wait.
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
                    TakeOutIdle_NeedsLock(entry, ref _collections);
                    entry.KeepWatch(watch);
                }
                else if (entry.IsLeaving)
                {
                    // Another thread has the entry, and deregisters it.
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

    /// <summary>Gives back idle registrations, the oldest first, until the given number of bytes is free again.</summary>
    public long Reclaim(long bytes)
    {
        long reclaimed = 0;
        while (reclaimed < bytes && TryRemoveOldest(long.MaxValue, ref _reclaims, out CacheEntry? entry))
        {
            Deregister(entry);
            reclaimed += entry.Length;
        }
        return reclaimed;
    }

    public override void ReleaseIdle()
    {
        long closed = 0;
        while (TryRemoveOldest(long.MaxValue, ref closed, out CacheEntry? entry))
            Deregister(entry);
        if (!Parts.Lifetime.IsClosed)
            return;
        AwaitSweep();
        _sweeper.End();
    }

    public override void Trim(long idleSince)
    {
        List<CacheEntry>? leaving = null;
        lock (_gate)
        {
            _idle.Date(_time.GetTimestamp());
            TakeOutClosed_NeedsLock(ref leaving);
        }
        Deregister(leaving);
        while (TryRemoveOldest(idleSince, ref _trims, out CacheEntry? entry))
            Deregister(entry);
    }

    /// <summary>Closes the cache: idle entries are given back at once, those in use after their last lease.</summary>
    public void Close()
    {
        lock (_gate)
            _isClosed = true;
        ReleaseIdle();
        AwaitSweep();
        RemoveIfEmpty();
    }

    private void RemoveIfEmpty()
    {
        lock (_gate)
        {
            if (!_isClosed || _count != 0 || _outside.Count != 0 || _registering.Count != 0)
                return;
        }
        _sweeper.End();
        _caches.Remove(this);
    }

    /// <summary>Takes out the oldest idle entries until the others, including those being registered, keep to the limits.</summary>
    private void MakeRoom_NeedsLock(ref List<CacheEntry>? leaving)
    {
        while (_idle.Oldest is { } oldest && (_keptBytes > _options.MaxBytes || _keptCount > _options.MaxEntries))
        {
            TakeOutIdle_NeedsLock(oldest, ref _evictions);
            (leaving ??= []).Add(oldest);
        }
    }

    /// <summary>Ensures that no request finds an entry any more. An idle one leaves now, others after their last lease.</summary>
    private void Retire_NeedsLock(CacheEntry entry, ref long counter, ref List<CacheEntry>? leaving)
    {
        if (entry.IsIdle)
        {
            TakeOutIdle_NeedsLock(entry, ref counter);
            (leaving ??= []).Add(entry);
            return;
        }
        _index.Remove(entry);
        entry.IsIndexed = false;
        _outside.Add(entry);
        counter++;
    }

    private bool TryRemoveOldest(long idleSince, ref long counter, [NotNullWhen(true)] out CacheEntry? entry)
    {
        lock (_gate)
        {
            entry = _idle.Oldest;
            if (entry is null || entry.IdleSince > idleSince)
                return false;
            TakeOutIdle_NeedsLock(entry, ref counter);
            return true;
        }
    }

    /// <summary>Takes an idle entry out, to be deregistered.</summary>
    private void TakeOutIdle_NeedsLock(CacheEntry entry, ref long counter)
    {
        counter++;
        Parts.Memory.InTransit.Enter(entry.Length);
        _idle.Remove(entry);
        TakeOut_NeedsLock(entry);
    }

    /// <summary>Takes an entry out that has just been returned for the last time.</summary>
    private void TakeOutReturned_NeedsLock(CacheEntry entry)
    {
        Parts.Memory.InTransit.Enter(entry.Length);
        TakeOut_NeedsLock(entry);
    }

    private void TakeOut_NeedsLock(CacheEntry entry)
    {
        if (entry.IsIndexed)
            _index.Remove(entry);
        entry.IsIndexed = false;
        entry.ReferUntilDeregistered();
        _outside.Add(entry);
        _bytes -= entry.Length;
        _count--;
        Count_NeedsLock(entry, -1);
    }

    private void Deregister(List<CacheEntry>? leaving)
    {
        if (leaving is null)
            return;
        foreach (CacheEntry entry in leaving)
            Deregister(entry);
    }

    /// <summary>Deregisters an entry that was taken out, then unpins its memory.</summary>
    private void Deregister(CacheEntry entry)
    {
        bool isDeregistered = false;
        try
        {
            isDeregistered = Parts.Slabs.TryDeregister(entry.Region!.Registration, entry.Length);
        }
        finally
        {
            Parts.Memory.InTransit.Leave(entry.Length);
        }
        Release(entry, isDeregistered, cause: null);
        if (Volatile.Read(ref _isClosed))
            RemoveIfEmpty();
    }

    /// <summary>Unpins an entry's memory, or keeps it in place permanently if the transport may still reach it.</summary>
    private void Release(CacheEntry entry, bool isDeregistered, Exception? cause)
    {
        if (!isDeregistered)
            CallersMemory.LastingPins.Keep(entry);
        TaskCompletionSource? gone;
        lock (_gate)
        {
            entry.IsLeaving = true;
            entry.IsGone = isDeregistered;
            // A stranded entry stays, so that its owner gets the error whenever it asks.
            if (isDeregistered)
                _outside.Remove(entry);
            else
                _outside.Add(entry);
            gone = isDeregistered ? entry.Gone : entry.EnsureGone();
        }
        if (!isDeregistered)
        {
            Fail(gone!, cause ?? StillRegistered(entry.Length));
            return;
        }
        gone?.SetResult();
        // Unpinning runs the caller's code, possibly on an endpoint's thread. It comes last, because that code may ask whether the
        // memory has gone, and would wait for this very thread.
        Parts.Incidents.Guard("unpinning the caller's memory", entry.Unpin);
    }

    /// <summary>Marks the exception as observed, because there may be no waiter.</summary>
    private static void Fail(TaskCompletionSource gone, Exception cause)
    {
        gone.SetException(cause);
        _ = gone.Task.Exception;
    }

    private RmaRegistrationException StillRegistered(long length) => new(
        $"{InWords.Size(length)} of the caller's memory could not be deregistered from the pool '{Parts.Settings.Name}'; the log says why. The memory must stay in place permanently, because the transport may still reach it.",
        "deregister",
        length,
        Parts.Settings.ProviderName,
        SystemErrors.Busy,
        SystemErrors.NameOf(SystemErrors.Busy))
    {
        IsStillRegistered = true,
    };
}
