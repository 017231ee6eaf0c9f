using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>
/// Finds memory for requests that the thread's magazine does not serve: chooses the class, and decides whether a
/// request may be served before those that wait.
/// </summary>
/// <remarks>
/// A request goes to the smallest class whose blocks are long enough, or to the direct regions. If an idle block is
/// there, the search ends. Otherwise the class grows, if the budget has room. At the cap, idle memory of the others is
/// given back first, then an idle block of a larger class is taken. Only if neither helps is the request refused, or
/// has to wait.
/// </remarks>
internal sealed class BlockFinder(PoolSettings settings, PoolLifetime lifetime, PoolMemory memory, SlabOwners owners, ClassIndex classIndex, WaiterLine line, Refusals refusals)
{
    private const int MaxLooks = 100;

    private readonly SizeClass[] _classes = owners.Classes;

    /// <summary>
    /// Takes memory for the <see cref="Registrar"/>, as a rent does. Returns false if the request has to wait in line.
    /// </summary>
    public bool TryTakeByRegistering(Waiter waiter, out RmaBuffer buffer)
    {
        long length = waiter.Length;
        if (waiter.IsImpatient ? TryTakeAtOnce(length, out buffer, out _) : TryTakeAsNewcomer(length, out buffer))
            return true;
        return waiter.IsImpatient || refusals.NeverFits(length) ? throw refusals.AtOnce(length) : false;
    }

    /// <summary>
    /// Takes memory for a waiter whose turn it is: an idle block, or memory that is registered for it. The caller must
    /// check <see cref="PoolLifetime.IsOpen"/> afterwards.
    /// </summary>
    /// <exception cref="RmaPoolExhaustedException">The cap was lowered below what it waits for.</exception>
    public bool TryTakeForWaiter(long length, bool mayRegister, out RmaBuffer buffer)
    {
        if (length > memory.Budget.Limit)
        {
            refusals.Count(isLate: false);
            throw refusals.Exhausted(length, $"{InWords.Size(length)}, after the cap was lowered");
        }
        return mayRegister ? TryTakeAnywhere(length, out buffer) : TryTakeIdle(length, out buffer);
    }

    /// <summary>
    /// Takes memory for a request that does not wait in line. Memory in transit that may be what it lacks is waited
    /// for, as the caller's own registrations are. No request is refused for a shortage that is only passing.
    /// </summary>
    /// <param name="length">Bytes.</param>
    /// <param name="buffer">The memory.</param>
    /// <param name="isLate">Whether it was refused after <see cref="PoolSettings.RentTimeout"/> had passed, if that is a limit.</param>
    public bool TryTakeAtOnce(long length, out RmaBuffer buffer, out bool isLate)
    {
        TimeSpan most = settings.RentTimeout;
        long lateFrom = most > TimeSpan.Zero ? Environment.TickCount64 + (long)most.TotalMilliseconds : long.MaxValue;
        isLate = false;
        long until = 0;
        for (int looks = 0; ; looks++)
        {
            long ended = memory.InTransit.Ended;
            if (TryTakeAsNewcomer(length, out buffer))
                return true;
            isLate = Environment.TickCount64 >= lateFrom;
            // While callers wait, they are the ones who get what becomes free. The number of looks is bounded, so that
            // one among many callers who register and give back all the time is eventually refused.
            if (isLate || line.Count != 0 || looks == MaxLooks || !memory.IsWorthAnotherLook(BytesFor(length), OwnerOf(length), ended, ref until))
                return false;
            lifetime.CheckOpen();
        }
    }

    /// <summary>
    /// Like <see cref="TryTakeAsNewcomer"/>, but never calls the provider: it registers nothing, gives nothing back,
    /// and does not wait for a thread that does.
    /// </summary>
    /// <param name="length">Bytes.</param>
    /// <param name="buffer">The memory.</param>
    /// <param name="mayRegister">If it is refused: whether there may be room to register memory for it.</param>
    public bool TryTakeIdleAsNewcomer(long length, out RmaBuffer buffer, out bool mayRegister)
    {
        int index = ClassOf(length);
        if (line.Count != 0)
        {
            mayRegister = SparesRoomFor(length);
            return TryTakeAsNewcomer(length, out buffer, mayRegister: false);
        }
        bool isTaken = index == _classes.Length ? owners.Direct.TryTakeIdle(length, out buffer) : _classes[index].TryTakeWithoutGrowth(length, out buffer);
        mayRegister = !isTaken && memory.MayHaveRoomFor(BytesFor(length), OwnerOf(length));
        for (int larger = index + 1; !isTaken && !mayRegister && larger < _classes.Length; larger++)
            isTaken = _classes[larger].TryTakeIdle(length, fromOthers: true, out buffer);
        return isTaken && lifetime.CheckStillOpen(buffer);
    }

    /// <summary>
    /// Takes memory for a request that comes after the waiters. While others wait for the same class, it gets nothing.
    /// While others wait for another class, it gets an idle block, but only a limited number of times, and beyond that
    /// only memory that none of them lacks.
    /// </summary>
    private bool TryTakeAsNewcomer(long length, out RmaBuffer buffer, bool mayRegister = true)
    {
        if (line.Count == 0)
            return TryTake(length, out buffer);
        int index = ClassOf(length);
        buffer = default;
        if (line.HasWaitersOf(index))
            return false;
        List<Waiter> older = line.Heads();
        if (line.MayOvertake(older) && TryTakeIdleOf(index, length, out buffer))
            line.MarkOvertaken(older);
        else if (!TryTakeUnneeded(length, older, mayRegister, out buffer))
            return false;
        return lifetime.CheckStillOpen(buffer);
    }

    /// <summary>
    /// Takes only memory that none of the older waiters lacks, see <see cref="PoolMemory.IsIndifferent"/>. The caller
    /// must check <see cref="PoolLifetime.IsOpen"/> afterwards.
    /// </summary>
    public bool TryTakeUnneeded(long length, List<Waiter> older, bool mayRegister, out RmaBuffer buffer)
    {
        int index = ClassOf(length);
        buffer = default;
        if (IsSpared(index, older, 0))
        {
            if (TryTakeIdleOf(index, length, out buffer))
                return true;
            return mayRegister && SparedGrowth(index, length, older) is > 0 and long bytes
                && (index == _classes.Length ? owners.Direct.TryTake(length, out buffer, mayReclaim: false) : _classes[index].TryTake(length, out buffer, bytes));
        }
        // Blocks that are kept for a class from the start are of use only to those who wait for that class, or for smaller blocks.
        return index < _classes.Length && older.TrueForAll(w => w.ClassIndex > index) && _classes[index].TryTakeInitial(length, out buffer);
    }

    /// <summary>
    /// Returns the bytes that the class would like to grow by, or fewer, so that none of the waiters lacks them; 0 if
    /// no such number exists.
    /// </summary>
    private long SparedGrowth(int index, long length, List<Waiter> older)
    {
        long least = BytesFor(length);
        long bytes = index == _classes.Length ? least : Math.Max(least, memory.RoundToPages(_classes[index].NextGrowth));
        while (!IsSpared(index, older, bytes))
        {
            if (bytes == least)
                return 0;
            bytes = Math.Max(least, bytes / 2);
        }
        return bytes;
    }

    private bool IsSpared(int index, List<Waiter> older, long growth) => older.TrueForAll(w => memory.IsIndifferent(w, index, growth));

    /// <summary>Whether a newcomer may have memory registered although others wait.</summary>
    public bool SparesRoomFor(long length)
    {
        int index = ClassOf(length);
        List<Waiter> older = line.Heads();
        return !line.HasWaitersOf(index) && IsSpared(index, older, 0) && SparedGrowth(index, length, older) > 0;
    }

    private bool TryTake(long length, out RmaBuffer buffer) => TryTakeAnywhere(length, out buffer) && lifetime.CheckStillOpen(buffer);

    private bool TryTakeAnywhere(long length, out RmaBuffer buffer)
    {
        int index = ClassOf(length);
        if (index == _classes.Length)
            return owners.Direct.TryTake(length, out buffer);
        if (_classes[index].TryTake(length, out buffer))
            return true;
        for (int larger = index + 1; larger < _classes.Length; larger++)
        {
            if (_classes[larger].TryTakeIdle(length, fromOthers: true, out buffer))
                return true;
        }
        return false;
    }

    /// <summary>
    /// Takes an idle block of the length's class or a larger one, or an idle region. While callers wait, no memory is
    /// in magazines.
    /// </summary>
    private bool TryTakeIdle(long length, out RmaBuffer buffer)
    {
        for (int index = ClassOf(length); index < _classes.Length; index++)
        {
            if (TryTakeIdleOf(index, length, out buffer))
                return true;
        }
        buffer = default;
        return length > classIndex.Largest && TryTakeIdleOf(_classes.Length, length, out buffer);
    }

    private bool TryTakeIdleOf(int index, long length, out RmaBuffer buffer) => index == _classes.Length
        ? owners.Direct.TryTakeIdle(length, out buffer)
        : _classes[index].TryTakeIdle(length, fromOthers: false, out buffer);

    /// <summary>Returns the index of the class that serves a length; the number of classes stands for the direct regions.</summary>
    public int ClassOf(long length) => length > classIndex.Largest ? _classes.Length : classIndex.Of(length).Index;

    /// <summary>Returns the fewest bytes that are registered for a request.</summary>
    public long BytesFor(long length) => memory.RoundToPages(length > classIndex.Largest ? length : classIndex.Of(length).BlockSize);

    /// <summary>Returns the owner that serves a length.</summary>
    public SlabOwner OwnerOf(long length) => length > classIndex.Largest ? owners.Direct : classIndex.Of(length);
}
