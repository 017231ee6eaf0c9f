using AllocTools.Blocks;
using AllocTools.Interop;

namespace AllocTools.Pooling;

/// <summary>Keeps a pool's memory within its cap: reserves bytes, and gives back idle memory to make room for them.</summary>
/// <remarks>
/// Idle memory is given back for a request only if that makes enough room for it: a request that can't be served takes
/// nothing from others. Memory registered at start stays with its class, unless the cap is lowered.
/// </remarks>
internal sealed class PoolMemory
{
    /// <summary>The magazines of all threads together hold at most the cap divided by this.</summary>
    private const int MagazineShare = 8;

    private readonly IBlockAllocator _blocks;
    private readonly SlabOwners _owners;
    private readonly SizeClass[] _classes;
    private readonly IPoolSignals _signals;

    // 1 if the cap was changed, and memory over it may still have to be given back.
    private int _overLimit;

    private long _barriers;

    public PoolMemory(long limit, IBlockAllocator blocks, SlabOwners owners, IPoolSignals signals)
    {
        _blocks = blocks;
        _owners = owners;
        _classes = owners.Classes;
        _signals = signals;
        Budget = new Budget(limit);
        MagazineBudget = new Budget(limit / MagazineShare);
        InTransit = new MemoryInTransit(Budget);
    }

    /// <summary>Held while magazines are revoked and collected, so that there is one gathering at a time. It is taken before the locks of classes and of their magazines.</summary>
    public Lock Gathering { get; } = new();

    /// <summary>Process-wide barriers that were passed to empty magazines.</summary>
    public long Barriers => Volatile.Read(ref _barriers);

    /// <summary>The bytes that are registered.</summary>
    public Budget Budget { get; }

    /// <summary>The bytes that the magazines of all threads may hold.</summary>
    public Budget MagazineBudget { get; }

    /// <summary>The bytes that are being registered or given back.</summary>
    public MemoryInTransit InTransit { get; }

    public long RoundToPages(long length) => (length + _blocks.PageSize - 1) / _blocks.PageSize * _blocks.PageSize;

    /// <summary>
    /// Reserves bytes for memory that is to be registered. At the cap, idle memory elsewhere is given back first. The
    /// bytes are <see cref="InTransit"/>, which the caller ends.
    /// </summary>
    /// <returns>The reserved bytes, between the two lengths; or 0.</returns>
    public long Reserve(long preferred, long minimum, SlabOwner? forOwner, bool mayReclaim = true)
    {
        long granule = preferred == minimum ? 1 : _blocks.PageSize;
        while (true)
        {
            long bytes = InTransit.Reserve(preferred, minimum, granule);
            if (bytes != 0 || !TryMakeRoom(minimum, forOwner, mayReclaim))
                return bytes;
        }
    }

    /// <summary>Reserves bytes for a caller's memory, and waits for memory in transit if that may make room.</summary>
    public bool TryReserveWhole(long bytes)
    {
        long until = 0;
        while (true)
        {
            long ended = InTransit.Ended;
            if (Reserve(bytes, bytes, forOwner: null) != 0)
                return true;
            if (!IsWorthAnotherLook(bytes, forOwner: null, ended, ref until))
                return false;
        }
    }

    /// <summary>
    /// After a search in vain, waits for memory that was in transit during the search, and may make room.
    /// </summary>
    /// <param name="bytes">The bytes that are needed.</param>
    /// <param name="forOwner">The owner that would get it.</param>
    /// <param name="ended"><see cref="MemoryInTransit.Ended"/> before the search.</param>
    /// <param name="until">When the caller's wait ends, in milliseconds of <see cref="Environment.TickCount64"/>; 0 at its first search.</param>
    /// <returns>False if nothing was in transit, if it is too little in any case, or if it took too long.</returns>
    public bool IsWorthAnotherLook(long bytes, SlabOwner? forOwner, long ended, ref long until)
    {
        long now = Environment.TickCount64;
        if (until == 0)
            until = now + MemoryInTransit.LongestWait;
        return now < until
            && (InTransit.Ended != ended
                || InTransit.Bytes is > 0 and long passing && MissingFor(bytes) <= IdleBytes(forOwner, withMagazines: true) + passing && InTransit.WaitBeyond(ended, until));
    }

    /// <summary>
    /// Whether a request could be served by registering memory, if need be in place of idle memory. This is for when
    /// callers wait, because no memory is in magazines then.
    /// </summary>
    public bool HasRoomFor(long bytes, SlabOwner? forOwner) => MissingFor(bytes) <= IdleBytes(forOwner, withMagazines: false);

    /// <summary>Like <see cref="HasRoomFor"/>, but for when no request waits: idle memory may be in magazines.</summary>
    public bool MayHaveRoomFor(long bytes, SlabOwner? forOwner) => MissingFor(bytes) <= IdleBytes(forOwner, withMagazines: true);

    /// <summary>
    /// Whether it makes no difference to a waiter that a younger request takes an idle block of another class, or the
    /// region of a direct request, and has the given number of bytes registered for it.
    /// </summary>
    /// <remarks>
    /// It makes none if the waiter can't be served before something large comes back that is enough on its own. That is
    /// memory in use that is as long as what the waiter lacks when all that is the taker's is lost to it and, if it
    /// waits for a block, any slab whose blocks are long enough. Even if all the rest came back as well, it would not
    /// be enough.
    /// Memory that is registered at the same moment is overlooked; the next request is judged by what it has left.
    /// </remarks>
    /// <param name="waiter">The older one.</param>
    /// <param name="taker">The younger one's class; the number of classes stands for the direct regions.</param>
    /// <param name="growth">Bytes.</param>
    public bool IsIndifferent(Waiter waiter, int taker, long growth)
    {
        int direct = _classes.Length;
        // Those very blocks would serve it.
        if (taker == waiter.ClassIndex || taker > waiter.ClassIndex && taker < direct)
            return false;
        long free = Budget.Limit - Budget.Reserved - growth;
        if (free < 0)
            return false;
        SlabOwner? owner = taker < direct ? _classes[taker] : null;
        long lacking = waiter.Bytes - free - IdleBytes(owner, withMagazines: false) + (taker == direct ? _owners.Direct.IdleBytes : 0);
        if (lacking <= 0)
            return true;
        long large = _owners.RegionsInUse(lacking, directToo: taker != direct);
        long kept = 0;
        for (int i = 0; i < _classes.Length; i++)
            _classes[i].AddUp(i == taker ? long.MaxValue : waiter.ClassIndex <= i ? 0 : lacking, ref large, ref kept);
        return Budget.Limit - large - kept < waiter.Bytes;
    }

    /// <summary>Releases bytes that were reserved. Waiters may find room now.</summary>
    public void Release(long bytes)
    {
        Budget.Release(bytes);
        _signals.SignalWaiters();
    }

    /// <summary>
    /// Changes the cap while the pool is in use. Over a lower one, idle memory is given back at once, and the rest as
    /// it is returned; until then nothing more is registered. A higher one serves waiters.
    /// </summary>
    public void SetLimit(long bytes)
    {
        Budget.Limit = bytes;
        MagazineBudget.Limit = bytes / MagazineShare;
        Interlocked.Exchange(ref _overLimit, 1);
        _signals.UpdateMode();
        // New magazines are made, with their shares of the new cap.
        Gather(_classes, MagazinesToCollect.AllAndRemove, look: false);
        _signals.AfterRelease();
    }

    /// <summary>Puts the blocks of all magazines back into their slabs, if there are any.</summary>
    /// <returns>True if there were any.</returns>
    public bool GatherMagazines() => Gather(_classes, MagazinesToCollect.All);

    /// <summary>
    /// Puts the blocks of all magazines where all threads can see them, after the mode has become slow. No return that
    /// read the fast mode is overlooked: it has put its block in, or is seen to be about to, behind the barrier. Later
    /// returns put nothing in, so the magazines stay empty and no thread passes a barrier again until the mode changes.
    /// </summary>
    public void GatherForSlowMode() => Gather(_classes, MagazinesToCollect.All, look: false);

    /// <summary>Puts the blocks of magazines back into their slabs, for several classes at one process-wide barrier.</summary>
    /// <param name="from">The classes.</param>
    /// <param name="which">Which magazines.</param>
    /// <param name="look">True: only if they hold anything, because a barrier costs microseconds, and most are empty when memory is scarce.</param>
    /// <returns>True if there were any blocks.</returns>
    public bool Gather(ReadOnlySpan<SizeClass> from, MagazinesToCollect which, bool look = true)
    {
        bool hasFound = false;
        // This follows what this thread has put into its magazines: of two threads that each return a block and then
        // look for one, at least one sees the other's.
        Fence.Full();
        lock (Gathering)
        {
            bool isRevoked = false;
            foreach (SizeClass sizeClass in from)
                isRevoked |= sizeClass.RevokeMagazines(which, look);
            if (!isRevoked)
                return false;
            _barriers++;
            Interlocked.MemoryBarrierProcessWide();
            foreach (SizeClass sizeClass in from)
                hasFound |= sizeClass.CollectMagazines(which);
        }
        if (!hasFound)
            return false;
        foreach (SizeClass sizeClass in from)
            sizeClass.ReclaimIfClosed();
        _signals.AfterRelease();
        return true;
    }

    /// <summary>Gives back idle memory over the cap, if the cap was lowered.</summary>
    public void GiveBackExcess()
    {
        if (Volatile.Read(ref _overLimit) == 0)
            return;
        // While the mode is slow the magazines are empty. Memory registered at start is given back last.
        for (int initialToo = 0; initialToo <= 1 && Budget.Excess is > 0 and long excess; initialToo++)
            Reclaim(excess, forOwner: null, initialToo == 1);
        if (Budget.Excess != 0)
            return;
        // A limit that is lowered at this moment is seen here, or sets the mark after this.
        Interlocked.Exchange(ref _overLimit, 0);
        if (Budget.Excess != 0)
            Interlocked.Exchange(ref _overLimit, 1);
        _signals.UpdateMode();
    }

    /// <summary>Gives back idle memory of others if that makes enough room; otherwise nothing.</summary>
    /// <returns>True if it is worth trying again.</returns>
    private bool TryMakeRoom(long bytes, SlabOwner? forOwner, bool mayReclaim)
    {
        long missing = MissingFor(bytes);
        if (missing <= 0)
            return true;
        if (!mayReclaim || missing > IdleBytes(forOwner, withMagazines: true))
            return false;
        if (missing > IdleBytes(forOwner, withMagazines: false))
        {
            GatherMagazines();
            missing = MissingFor(bytes);
            if (missing > IdleBytes(forOwner, withMagazines: false))
                return false;
        }
        return missing <= 0 || Reclaim(missing, forOwner, initialToo: false) != 0;
    }

    private long MissingFor(long bytes) => bytes - (Budget.Limit - Budget.Reserved);

    /// <summary>Returns the idle bytes that can be given back for an owner. Its own idle memory does not count.</summary>
    private long IdleBytes(SlabOwner? forOwner, bool withMagazines)
    {
        long idle = _owners.IdleRegionBytes;
        foreach (SizeClass sizeClass in _classes)
        {
            if (sizeClass != forOwner)
                idle += withMagazines ? sizeClass.IdleBytesWithMagazines : sizeClass.IdleBytes;
        }
        return idle;
    }

    private long Reclaim(long bytes, SlabOwner? forOwner, bool initialToo)
    {
        long reclaimed = _owners.ReclaimRegions(bytes);
        // The largest blocks come first, because they give back most at a time.
        for (int i = _classes.Length - 1; i >= 0 && reclaimed < bytes; i--)
        {
            if (_classes[i] != forOwner)
                reclaimed += _classes[i].Reclaim(bytes - reclaimed, initialToo);
        }
        return reclaimed;
    }
}
