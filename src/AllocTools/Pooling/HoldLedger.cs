namespace AllocTools.Pooling;

/// <summary>
/// Counts holds in the rare cases: blocks with 255 holds or more, blocks held by operations that timed out or by pins,
/// and blocks whose lease has ended before their last hold.
/// </summary>
/// <remarks>
/// The step of a state word's hold count between 254 and 255, and every change of an entry are made only under the lock. While
/// the word says 255 the entry has the number. Deferring a return sets the word to 255, however few the holds are: from
/// then on every release of that block comes through here, so the last one can't be missed.
/// </remarks>
internal sealed class HoldLedger
{
    private readonly Lock _gate = new();
    private readonly Dictionary<(Slab, int), Entry> _entries = [];

    /// <summary>
    /// Adds a hold to a block that has 254 or more. Returns false if it has fewer by now: then the word counts it.
    /// </summary>
    /// <param name="slab">The block's slab.</param>
    /// <param name="index">The block's number there.</param>
    /// <param name="lease">The lease, which must not have ended; null for a caller that has a hold already.</param>
    public bool TryAddHold(Slab slab, int index, ulong? lease)
    {
        lock (_gate)
        {
            ref ulong state = ref slab.State(index);
            ulong seen = Volatile.Read(ref state);
            if (lease is { } expected && (seen & ~Slab.HoldMask) != expected)
                LeaseErrors.ThrowReturned(slab);
            ulong holds = seen & Slab.HoldMask;
            if (holds < Slab.HoldsInLedger - 1)
                return false;
            if (holds == Slab.HoldsInLedger)
            {
                Find_NeedsLock(slab, index).Counted++;
                return true;
            }
            if (Interlocked.CompareExchange(ref state, seen + 1, seen) != seen)
                return false;
            Find_NeedsLock(slab, index).Counted = (int)Slab.HoldsInLedger;
            return true;
        }
    }

    /// <summary>Marks one of the block's holds as one of an operation that timed out.</summary>
    public void Quarantine(Slab slab, int index)
    {
        lock (_gate)
            Find_NeedsLock(slab, index).Quarantined++;
    }

    /// <summary>Marks one of the block's holds as a pin. Returns false if the lease has ended; nothing is marked then.</summary>
    public bool TryPin(Slab slab, int index, ulong lease)
    {
        lock (_gate)
        {
            if (!slab.IsRented(index, lease))
                return false;
            Find_NeedsLock(slab, index).Pinned++;
            return true;
        }
    }

    /// <summary>Whether anything holds the block besides operations that timed out.</summary>
    public bool IsInUse(Slab slab, int index)
    {
        lock (_gate)
        {
            int all = (int)(Volatile.Read(ref slab.State(index)) & Slab.HoldMask);
            _entries.TryGetValue((slab, index), out Entry? entry);
            if (entry is not null && all == (int)Slab.HoldsInLedger)
                all = entry.Counted;
            return all > (entry?.Quarantined ?? 0);
        }
    }

    /// <summary>Whether one of the block's holds is a pin.</summary>
    public bool IsPinned(Slab slab, int index)
    {
        lock (_gate)
            return _entries.TryGetValue((slab, index), out Entry? entry) && entry.Pinned > 0;
    }

    /// <summary>Ends the lease of a block that is held, so that it comes back with its last hold.</summary>
    /// <param name="slab">The block's slab.</param>
    /// <param name="index">The block's number there.</param>
    /// <param name="lease">The lease.</param>
    /// <param name="isStrict">True: only if operations that timed out are all that holds it. False: only if no pin does.</param>
    /// <param name="holds">The number of holds that are left, without those of operations that timed out.</param>
    /// <returns>False if nothing holds the block any more, or the lease has ended.</returns>
    /// <exception cref="InvalidOperationException">Something holds it that the caller must end first.</exception>
    public bool TryDeferReturn(Slab slab, int index, ulong lease, bool isStrict, out int holds)
    {
        lock (_gate)
        {
            ref ulong state = ref slab.State(index);
            while (true)
            {
                ulong seen = Volatile.Read(ref state);
                int all = (int)(seen & Slab.HoldMask);
                holds = 0;
                if ((seen & ~Slab.HoldMask) != lease || all == 0)
                    return false;
                _entries.TryGetValue((slab, index), out Entry? entry);
                if (entry is not null && all == (int)Slab.HoldsInLedger)
                    all = entry.Counted;
                holds = all - (entry?.Quarantined ?? 0);
                if (entry is { Pinned: > 0 })
                    LeaseErrors.ThrowPinned(entry.Pinned);
                if (isStrict && holds != 0)
                    LeaseErrors.ThrowHeld(holds);
                if (Interlocked.CompareExchange(ref state, (lease + Slab.GenerationUnit) | Slab.HoldsInLedger, seen) != seen)
                    continue;
                entry ??= Find_NeedsLock(slab, index);
                entry.Counted = all;
                entry.ReturnDeferred = true;
                return true;
            }
        }
    }

    /// <summary>Removes a hold.</summary>
    /// <returns>True if it was the last one of a block whose return waits for it.</returns>
    public bool Release(Slab slab, int index, HoldKind kind)
    {
        lock (_gate)
        {
            _entries.TryGetValue((slab, index), out Entry? entry);
            if (kind == HoldKind.Quarantined && entry is not { Quarantined: > 0 } || kind == HoldKind.Pin && entry is not { Pinned: > 0 })
                LeaseErrors.ThrowNotHeld();
            if (kind == HoldKind.Quarantined)
                entry!.Quarantined--;
            else if (kind == HoldKind.Pin)
                entry!.Pinned--;
            ref ulong state = ref slab.State(index);
            ulong holds = Volatile.Read(ref state) & Slab.HoldMask;
            if (holds == 0)
                LeaseErrors.ThrowNotHeld();
            if (holds == Slab.HoldsInLedger)
            {
                entry!.Counted--;
                if (entry.ReturnDeferred ? entry.Counted > 0 : entry.Counted >= (int)Slab.HoldsInLedger)
                    return false;
                if (entry.ReturnDeferred)
                {
                    // No other thread writes the word: the lease has ended, and this was the last hold.
                    Volatile.Write(ref state, Volatile.Read(ref state) & ~Slab.HoldMask);
                    _entries.Remove((slab, index));
                    return true;
                }
            }
            Interlocked.Decrement(ref state);
            if (entry is { Quarantined: 0, Pinned: 0 })
                _entries.Remove((slab, index));
            return false;
        }
    }

    private Entry Find_NeedsLock(Slab slab, int index)
    {
        if (!_entries.TryGetValue((slab, index), out Entry? entry))
            _entries.Add((slab, index), entry = new Entry());
        return entry;
    }

    private sealed class Entry
    {
        /// <summary>
        /// The number of holds while the state word says 255. It is 255 or more then, unless the return is deferred.
        /// </summary>
        public int Counted { get; set; }

        /// <summary>How many of the holds are quarantined.</summary>
        public int Quarantined { get; set; }

        /// <summary>How many of the holds are pins.</summary>
        public int Pinned { get; set; }

        /// <summary>Whether the lease has ended, so that the block comes back with its last hold.</summary>
        public bool ReturnDeferred { get; set; }
    }
}

/// <summary>What a hold of a block is for, as far as the <see cref="HoldLedger"/> distinguishes it.</summary>
internal enum HoldKind
{
    /// <summary>An operation or an exposure.</summary>
    Counted,

    /// <summary>An operation that timed out, or an exposure that could not be ended.</summary>
    Quarantined,

    /// <summary>A caller's pin.</summary>
    Pin,
}
