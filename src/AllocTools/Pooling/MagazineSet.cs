namespace AllocTools.Pooling;

/// <summary>Makes, adopts and empties the magazines of a size class.</summary>
/// <remarks>
/// Together, the magazines of a pool may hold a share of its cap (<see cref="PoolMemory.MagazineBudget"/>). Each
/// magazine's capacity is taken from it, at most an eighth of what is left, so that later threads find some.
/// While blocks are scarce, all of the class's magazines hold less than they may: see
/// <see cref="MagazinesToCollect.AllAndShrink"/>.
/// They are emptied in two steps, <see cref="Revoke"/> and <see cref="Collect"/>, with the process-wide barrier
/// between, so that one barrier is enough for all classes. The thread that takes the steps holds
/// <see cref="PoolMemory.Gathering"/>.
/// </remarks>
internal sealed class MagazineSet(SizeClass sizeClass, Action<Magazine?[]> publish)
{
    private const long MaxBytes = 64L << 20;
    private const int ShareOfRest = 8;

    private readonly Lock _gate = new();
    private readonly List<Magazine> _magazines = [];
    private Magazine?[] _byThread = [];

    // The magazines that the gathering under way has revoked.
    private readonly List<Magazine> _revoked = [];

    // The rents of magazines that were removed.
    private long _rents;

    // The most blocks that a magazine holds for now.
    private int _limit = Magazine.MaxCapacity;
    private bool _closed;

    /// <summary>The number of rents that magazines served.</summary>
    public long Rents
    {
        get
        {
            lock (_gate)
                return _rents + _magazines.Sum(m => m.Rents);
        }
    }

    /// <summary>The number of blocks in magazines.</summary>
    public long Blocks
    {
        get
        {
            lock (_gate)
            {
                long blocks = 0;
                foreach (Magazine magazine in _magazines)
                    blocks += magazine.Count;
                return blocks;
            }
        }
    }

    /// <summary>
    /// Creates the current thread's magazine, without room if the share is used up. Returns null once the set is
    /// closed.
    /// </summary>
    public Magazine? Create()
    {
        int thread = ThreadNumbers.GetOrTake();
        lock (_gate)
        {
            if (_closed)
                return null;
            if (thread < _byThread.Length && _byThread[thread] is { } present)
                return present;
            int granted = TakeCapacity();
            Magazine magazine = new(thread, granted, Math.Min(granted, _limit));
            if (thread >= _byThread.Length)
                Array.Resize(ref _byThread, Math.Max(thread + 1, _byThread.Length * 2));
            Volatile.Write(ref _byThread[thread], magazine);
            _magazines.Add(magazine);
            publish(_byThread);
            return magazine;
        }
    }

    /// <summary>Keeps owners out of their magazines, so that the magazines can be emptied behind the barrier.</summary>
    /// <param name="which">Which of them.</param>
    /// <param name="look">
    /// True: only if they hold anything. False: even if they seem empty, because a return that read the mode before it
    /// was changed may have put a block in unseen.
    /// </param>
    /// <returns>True if there are any to collect.</returns>
    public bool Revoke(MagazinesToCollect which, bool look)
    {
        lock (_gate)
        {
            bool isWorthIt = !look;
            foreach (Magazine magazine in _magazines)
            {
                bool isOrphaned = magazine.IsOrphaned;
                bool isIdle = magazine.RentsSeen == magazine.Rents;
                if (which == MagazinesToCollect.Idle)
                    magazine.RentsSeen = magazine.Rents;
                if (which < MagazinesToCollect.All && !isOrphaned && !(which == MagazinesToCollect.Idle && isIdle))
                    continue;
                _revoked.Add(magazine);
                isWorthIt |= isOrphaned || magazine.MayHoldBlocks;
            }
            if (!isWorthIt)
                _revoked.Clear();
            foreach (Magazine magazine in _revoked)
                magazine.Revoke();
            return _revoked.Count != 0;
        }
    }

    /// <summary>
    /// Empties the revoked magazines, behind the barrier. A live owner's stays and fills again, a dead one's is
    /// removed.
    /// </summary>
    /// <returns>The blocks that were in them.</returns>
    public List<FreeBlock> Collect(MagazinesToCollect which)
    {
        List<FreeBlock> blocks = [];
        lock (_gate)
        {
            if (which == MagazinesToCollect.AllAndShrink && _revoked.Count != 0)
                _limit = Math.Min(_limit, _revoked.Max(m => m.Capacity)) / 2;
            foreach (Magazine magazine in _revoked)
            {
                Take(magazine, blocks);
                magazine.Capacity = Math.Min(magazine.Capacity, _limit);
                if (magazine.IsOrphaned || which == MagazinesToCollect.AllAndRemove)
                    Remove_NeedsLock(magazine);
                else
                    magazine.EndRevocation();
            }
            _revoked.Clear();
        }
        return blocks;
    }

    /// <summary>Lets magazines hold all that they may again, because blocks are no longer scarce.</summary>
    public void Restore() => SetLimit(_ => Magazine.MaxCapacity);

    /// <summary>Lets magazines that were shrunk hold twice as much.</summary>
    public void Widen() => SetLimit(limit => Math.Clamp(limit * 2, 1, Magazine.MaxCapacity));

    private void SetLimit(Func<int, int> next)
    {
        lock (_gate)
        {
            _limit = next(_limit);
            foreach (Magazine magazine in _magazines)
                magazine.Capacity = Math.Min(magazine.Granted, _limit);
        }
    }

    /// <summary>Removes all magazines: the pool is closed and returns go elsewhere, so no thread uses one any more.</summary>
    /// <returns>The blocks that were in them.</returns>
    public List<FreeBlock> Close()
    {
        List<FreeBlock> blocks = [];
        lock (_gate)
        {
            _closed = true;
            foreach (Magazine magazine in _magazines)
                magazine.Revoke();
            Interlocked.MemoryBarrierProcessWide();
            foreach (Magazine magazine in _magazines.ToArray())
            {
                Take(magazine, blocks);
                Remove_NeedsLock(magazine);
            }
        }
        return blocks;
    }

    // The owner is busy for a few nanoseconds, or has lost its processor meanwhile; it continues without help.
    private static void Take(Magazine magazine, List<FreeBlock> blocks)
    {
        SpinWait spin = default;
        while (!magazine.TryTakeAll(blocks))
            spin.SpinOnce();
    }

    private void Remove_NeedsLock(Magazine magazine)
    {
        // It stays revoked: a thread that has just found it puts nothing in any more.
        _byThread[magazine.Number] = null;
        _magazines.Remove(magazine);
        _rents += magazine.Rents;
        sizeClass.Parts.Memory.MagazineBudget.Release(magazine.Granted * sizeClass.BlockSize);
    }

    private int TakeCapacity()
    {
        long blockSize = sizeClass.BlockSize;
        Budget budget = sizeClass.Parts.Memory.MagazineBudget;
        long share = (budget.Limit - budget.Reserved) / ShareOfRest;
        long wanted = Math.Min(Magazine.MaxCapacity, Math.Max(1, Math.Min(MaxBytes, share) / blockSize));
        return (int)(budget.ReserveUpTo(wanted * blockSize, blockSize, blockSize) / blockSize);
    }
}

/// <summary>Which magazines are emptied.</summary>
internal enum MagazinesToCollect
{
    /// <summary>Those of threads that have ended.</summary>
    Dead = 0,

    /// <summary>Those, and the ones that have served nothing since this was last asked.</summary>
    Idle = 1,

    /// <summary>All.</summary>
    All = 2,

    /// <summary>All; those of live threads hold half as many blocks from then on.</summary>
    AllAndShrink = 3,

    /// <summary>All; each thread makes a new one when it needs it.</summary>
    AllAndRemove = 4,
}
