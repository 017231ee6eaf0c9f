namespace AllocTools.Pooling;

/// <summary>
/// The rare part of counting holds: blocks with 255 holds or more, and blocks held by operations that timed out.
/// </summary>
/// <remarks>
/// Under the lock only: the step of a state word's hold count between 254 and 255, and every change of an entry. While
/// a word says 255 the entry has the number. A return is deferred only when all holds are quarantined ones; from then
/// on every release of that block comes through here, so the last one can't be missed.
/// </remarks>
internal sealed class HoldLedger
{
    private readonly Lock _gate = new();
    private readonly Dictionary<(Slab, int), Entry> _entries = [];

    /// <summary>Adds a hold to a block that has 254 or more. False: it has fewer by now, count it in the word.</summary>
    public bool TryAddHold(Slab slab, int index, ulong lease)
    {
        lock (_gate)
        {
            ref ulong state = ref slab.State(index);
            ulong seen = Volatile.Read(ref state);
            if ((seen & ~Slab.HoldMask) != lease)
                LeaseErrors.ThrowReturned();
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

    /// <summary>Takes a hold off a block whose word says that the number is here.</summary>
    public void ReleaseCounted(Slab slab, int index)
    {
        lock (_gate)
            Release_NeedsLock(slab, index, Find_NeedsLock(slab, index));
    }

    /// <summary>One of the block's holds is an operation's that timed out.</summary>
    public void Quarantine(Slab slab, int index)
    {
        lock (_gate)
            Find_NeedsLock(slab, index).Quarantined++;
    }

    /// <summary>Ends the lease of a block that only timed-out operations hold. False: others hold it, or nobody does any more.</summary>
    /// <exception cref="InvalidOperationException">Others hold it.</exception>
    public bool TryDeferReturn(Slab slab, int index, ulong lease)
    {
        lock (_gate)
        {
            ref ulong state = ref slab.State(index);
            ulong seen = Volatile.Read(ref state);
            int holds = (int)(seen & Slab.HoldMask);
            if ((seen & ~Slab.HoldMask) != lease || holds == 0)
                return false;
            _entries.TryGetValue((slab, index), out Entry? entry);
            if (entry is not null && holds == (int)Slab.HoldsInLedger)
                holds = entry.Counted;
            if (entry is null || entry.Quarantined != holds)
                LeaseErrors.ThrowHeld(holds);
            if (Interlocked.CompareExchange(ref state, seen + Slab.GenerationUnit, seen) != seen)
                return false;
            entry.ReturnDeferred = true;
            return true;
        }
    }

    /// <summary>Takes the hold of a timed-out operation off. True: it was the last one of a block whose return waits for it.</summary>
    public bool ReleaseQuarantined(Slab slab, int index)
    {
        lock (_gate)
        {
            if (!_entries.TryGetValue((slab, index), out Entry? entry) || entry.Quarantined == 0)
                LeaseErrors.ThrowNotHeld();
            entry.Quarantined--;
            ulong left = Release_NeedsLock(slab, index, entry);
            return entry.ReturnDeferred && left == 0;
        }
    }

    private ulong Release_NeedsLock(Slab slab, int index, Entry entry)
    {
        ref ulong state = ref slab.State(index);
        ulong left;
        if ((Volatile.Read(ref state) & Slab.HoldMask) == Slab.HoldsInLedger && --entry.Counted >= (int)Slab.HoldsInLedger)
            left = Slab.HoldsInLedger;
        else
            left = Interlocked.Decrement(ref state) & Slab.HoldMask;
        if (entry.Quarantined == 0 && left < Slab.HoldsInLedger)
            _entries.Remove((slab, index));
        return left;
    }

    private Entry Find_NeedsLock(Slab slab, int index)
    {
        if (!_entries.TryGetValue((slab, index), out Entry? entry))
            _entries.Add((slab, index), entry = new Entry());
        return entry;
    }

    private sealed class Entry
    {
        /// <summary>The number of holds while the state word says 255; 255 or more then.</summary>
        public int Counted { get; set; }

        /// <summary>How many of the holds are quarantined.</summary>
        public int Quarantined { get; set; }

        /// <summary>The lease has ended; the block comes back with its last hold.</summary>
        public bool ReturnDeferred { get; set; }
    }
}
