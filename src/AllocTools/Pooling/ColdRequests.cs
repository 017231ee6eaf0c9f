using System.Runtime.CompilerServices;
using AllocTools.Validation;

namespace AllocTools.Pooling;

/// <summary>Requests that the thread's magazine does not serve: which memory they get, and who goes first.</summary>
/// <remarks>
/// A request goes to the smallest class whose blocks are long enough, or to the direct regions. An idle block ends it
/// there. Else the class grows, if the budget has room; at the cap idle memory of the others is given back first, then a
/// larger class's idle block is taken, and only then is the request refused or does it wait.
/// </remarks>
internal sealed class ColdRequests
{
    private const int MaxLooks = 100;

    private readonly PoolEngine _engine;
    private readonly SizeClass[] _classes;
    private readonly ClassIndex _classIndex;
    private readonly DirectRegions _direct;
    private readonly WaiterQueue _waiters;
    private readonly Registrar _registrar;

    public ColdRequests(PoolEngine engine, SizeClass[] classes, ClassIndex classIndex, DirectRegions direct, WaiterQueue waiters)
    {
        _engine = engine;
        _classes = classes;
        _classIndex = classIndex;
        _direct = direct;
        _waiters = waiters;
        _registrar = new Registrar(engine, this, waiters);
    }

    private PoolMemory Memory => _engine.Memory;

    private Refusals Refusals => _engine.Refusals;

    /// <summary>Memory is being registered for requests of <see cref="RentAsync"/>, or is about to be.</summary>
    public bool IsRegistering => _registrar.IsAtWork;

    /// <summary>No requests will come any more.</summary>
    public void Close() => _registrar.Close();

    [MethodImpl(MethodImplOptions.NoInlining)]
    public RmaBuffer Rent(long length)
    {
        _engine.CheckRequest(length);
        if (TryTakeAtOnce(length, out RmaBuffer buffer, out bool isLate))
            return _engine.Leaks.Sample(buffer);
        Refusals.Count(isLate);
        throw isLate ? Refusals.LateFor(length, _engine.RentTimeout)
            : Refusals.NeverFits(length) ? Refusals.DoesNotFit(length)
            : Refusals.Exhausted(length, InWords.Size(length), "Return buffers sooner, raise MaxRegisteredBytes, or use RentAsync to wait.");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public bool TryRent(long length, out RmaBuffer buffer)
    {
        _engine.CheckRequest(length);
        if (TryTakeAtOnce(length, out buffer, out bool isLate))
        {
            buffer = _engine.Leaks.Sample(buffer);
            return true;
        }
        Refusals.Count(isLate);
        buffer = default;
        return false;
    }

    /// <summary>Takes what is idle. Whatever calls the provider is done by another thread: the caller is never blocked.</summary>
    public ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken)
    {
        _engine.CheckRequest(length);
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled<RmaBuffer>(cancellationToken);
        TimeSpan timeout = _engine.RentTimeout;
        bool isImpatient = timeout == TimeSpan.Zero;
        bool mayRegister;
        try
        {
            if (TryTakeIdleAsNewcomer(length, out RmaBuffer buffer, out mayRegister))
                return new ValueTask<RmaBuffer>(_engine.Leaks.Sample(buffer));
            // What is in transit may make room; one that does not wait in line looks again as a rent does.
            mayRegister |= isImpatient && _waiters.Count == 0 && Memory.InTransit.Bytes != 0;
            if (!mayRegister && (isImpatient || Refusals.NeverFits(length)))
                throw Refusals.AtOnce(length);
        }
        catch (Exception e)
        {
            // Only what the caller did wrong is thrown at once; that the pool is closed meanwhile, or has no room, is the task's.
            return ValueTask.FromException<RmaBuffer>(e);
        }
        Waiter waiter = new(length, ClassOf(length), BytesFor(length), _engine.Time.GetTimestamp())
        {
            Timeout = isImpatient ? Timeout.InfiniteTimeSpan : timeout,
            IsImpatient = isImpatient,
        };
        _waiters.Add(waiter, cancellationToken);
        if (mayRegister)
        {
            // Closing fails those that wait once.
            if (!_engine.IsOpen)
                _waiters.FailAll(Refusals.NotOpen);
            _registrar.Add(waiter);
        }
        else
        {
            Wait(waiter);
        }
        // The task itself is the waiter's: whoever blocks on it is let go by the thread that makes room, though the thread
        // pool has no thread left.
        return new ValueTask<RmaBuffer>(waiter.Task);
    }

    /// <summary>Has a request wait in line for room.</summary>
    public void Wait(Waiter waiter)
    {
        _waiters.Enqueue(waiter);
        // Look once more: a return may have read "nobody waits" just before. The state, too: draining fails waiters once.
        if (!_engine.IsOpen)
            _waiters.FailAll(Refusals.NotOpen);
        _waiters.Signal();
    }

    /// <summary>For the <see cref="Registrar"/>: takes as a rent does. False: the request is to wait in line.</summary>
    public bool TryTakeByRegistering(Waiter waiter, out RmaBuffer buffer)
    {
        long length = waiter.Length;
        if (waiter.IsImpatient ? TryTakeAtOnce(length, out buffer, out _) : TryTakeAsNewcomer(length, out buffer))
            return true;
        return waiter.IsImpatient || Refusals.NeverFits(length) ? throw Refusals.AtOnce(length) : false;
    }

    /// <summary>Takes for a waiter whose turn it is: an idle block, or what is registered for it. The caller must check <see cref="PoolEngine.IsOpen"/> after.</summary>
    /// <exception cref="RmaPoolExhaustedException">The cap was lowered below what it waits for.</exception>
    public bool TryTakeForWaiter(long length, bool mayRegister, out RmaBuffer buffer)
    {
        if (length > _engine.Budget.Limit)
        {
            Refusals.Count(isLate: false);
            throw Refusals.Exhausted(length, $"{InWords.Size(length)}, after the cap was lowered");
        }
        return mayRegister ? TryTakeAnywhere(length, out buffer) : TryTakeIdle(length, out buffer);
    }

    /// <summary>
    /// For requests that don't wait their turn: what is in transit and may be what is missing is waited for, as it is for
    /// the caller's own registrations. Nobody is refused for what is only passing.
    /// </summary>
    /// <param name="length">Bytes.</param>
    /// <param name="buffer">The memory.</param>
    /// <param name="isLate">It was refused after a wait for <see cref="PoolEngine.RentTimeout"/>, where that is a limit.</param>
    private bool TryTakeAtOnce(long length, out RmaBuffer buffer, out bool isLate)
    {
        TimeSpan most = _engine.RentTimeout;
        long lateFrom = most > TimeSpan.Zero ? Environment.TickCount64 + (long)most.TotalMilliseconds : long.MaxValue;
        isLate = false;
        long until = 0;
        for (int looks = 0; ; looks++)
        {
            long ended = Memory.InTransit.Ended;
            if (TryTakeAsNewcomer(length, out buffer))
                return true;
            isLate = Environment.TickCount64 >= lateFrom;
            // Where callers wait they are the ones who get what comes free. Bounded, so that one among many who register
            // and give back all the time is refused at last.
            if (isLate || _waiters.Count != 0 || looks == MaxLooks || !Memory.IsWorthAnotherLook(BytesFor(length), OwnerOf(length), ended, ref until))
                return false;
            _engine.CheckOpen();
        }
    }

    /// <summary>
    /// As <see cref="TryTakeAsNewcomer"/>, without a call into the provider: registers nothing, gives nothing back, and waits
    /// for nobody who does.
    /// </summary>
    /// <param name="length">Bytes.</param>
    /// <param name="buffer">The memory.</param>
    /// <param name="mayRegister">Where it is refused: there may be room to register memory for it.</param>
    private bool TryTakeIdleAsNewcomer(long length, out RmaBuffer buffer, out bool mayRegister)
    {
        int index = ClassOf(length);
        if (_waiters.Count != 0)
        {
            mayRegister = SparesRoomFor(length);
            return TryTakeAsNewcomer(length, out buffer, mayRegister: false);
        }
        bool isTaken = index == _classes.Length ? _direct.TryTakeIdle(length, out buffer) : _classes[index].TryTakeWithoutGrowth(length, out buffer);
        mayRegister = !isTaken && Memory.MayHaveRoomFor(BytesFor(length), OwnerOf(length));
        for (int larger = index + 1; !isTaken && !mayRegister && larger < _classes.Length; larger++)
            isTaken = _classes[larger].TryTakeIdle(length, fromOthers: true, out buffer);
        return isTaken && CheckStillOpen(buffer);
    }

    /// <summary>
    /// Waiters go first. While others wait for the same class a newcomer gets nothing; while others wait for another one
    /// it gets an idle block, but only so often, and beyond that only what none of them misses.
    /// </summary>
    private bool TryTakeAsNewcomer(long length, out RmaBuffer buffer, bool mayRegister = true)
    {
        if (_waiters.Count == 0)
            return TryTake(length, out buffer);
        int index = ClassOf(length);
        buffer = default;
        if (_waiters.HasWaitersOf(index))
            return false;
        List<Waiter> older = _waiters.Heads();
        if (_waiters.MayOvertake(older) && TryTakeIdleOf(index, length, out buffer))
            _waiters.MarkOvertaken(older);
        else if (!TryTakeUnneeded(length, older, mayRegister, out buffer))
            return false;
        return CheckStillOpen(buffer);
    }

    /// <summary>Takes only what none of the older waiters misses, see <see cref="PoolMemory.IsIndifferent"/>. The caller must check <see cref="PoolEngine.IsOpen"/> after.</summary>
    public bool TryTakeUnneeded(long length, List<Waiter> older, bool mayRegister, out RmaBuffer buffer)
    {
        int index = ClassOf(length);
        buffer = default;
        if (IsSpared(index, older, 0))
        {
            if (TryTakeIdleOf(index, length, out buffer))
                return true;
            return mayRegister && SparedGrowth(index, length, older) is > 0 and long bytes
                && (index == _classes.Length ? _direct.TryTake(length, out buffer, mayReclaim: false) : _classes[index].TryTake(length, out buffer, bytes));
        }
        // What is kept for a class from the start is of use to those who wait for it, or for smaller blocks.
        return index < _classes.Length && older.TrueForAll(w => w.ClassIndex > index) && _classes[index].TryTakeInitial(length, out buffer);
    }

    /// <summary>As much as the class likes to grow by, or less, so that none of the waiters misses it; 0 where there is no such number.</summary>
    private long SparedGrowth(int index, long length, List<Waiter> older)
    {
        long least = BytesFor(length);
        long bytes = index == _classes.Length ? least : Math.Max(least, _engine.Slabs.RoundToPages(_classes[index].NextGrowth));
        while (!IsSpared(index, older, bytes))
        {
            if (bytes == least)
                return 0;
            bytes = Math.Max(least, bytes / 2);
        }
        return bytes;
    }

    private bool IsSpared(int index, List<Waiter> older, long growth) => older.TrueForAll(w => Memory.IsIndifferent(w, index, growth));

    /// <summary>Whether a newcomer may have memory registered although others wait.</summary>
    public bool SparesRoomFor(long length)
    {
        int index = ClassOf(length);
        List<Waiter> older = _waiters.Heads();
        return !_waiters.HasWaitersOf(index) && IsSpared(index, older, 0) && SparedGrowth(index, length, older) > 0;
    }

    /// <summary>The pool may have been closed while memory was registered: what was taken goes back then.</summary>
    public bool CheckStillOpen(RmaBuffer taken)
    {
        if (_engine.IsOpen)
            return true;
        taken.GiveBack();
        throw Refusals.NotOpen();
    }

    private bool TryTake(long length, out RmaBuffer buffer) => TryTakeAnywhere(length, out buffer) && CheckStillOpen(buffer);

    private bool TryTakeAnywhere(long length, out RmaBuffer buffer)
    {
        int index = ClassOf(length);
        if (index == _classes.Length)
            return _direct.TryTake(length, out buffer);
        if (_classes[index].TryTake(length, out buffer))
            return true;
        for (int larger = index + 1; larger < _classes.Length; larger++)
        {
            if (_classes[larger].TryTakeIdle(length, fromOthers: true, out buffer))
                return true;
        }
        return false;
    }

    /// <summary>An idle block of its class or a larger one, or an idle region. Nothing is in magazines while callers wait.</summary>
    private bool TryTakeIdle(long length, out RmaBuffer buffer)
    {
        for (int index = ClassOf(length); index < _classes.Length; index++)
        {
            if (TryTakeIdleOf(index, length, out buffer))
                return true;
        }
        buffer = default;
        return length > _classIndex.Largest && TryTakeIdleOf(_classes.Length, length, out buffer);
    }

    private bool TryTakeIdleOf(int index, long length, out RmaBuffer buffer) => index == _classes.Length
        ? _direct.TryTakeIdle(length, out buffer)
        : _classes[index].TryTakeIdle(length, fromOthers: false, out buffer);

    /// <summary>The class that serves a length; the number of classes stands for the direct regions.</summary>
    public int ClassOf(long length) => length > _classIndex.Largest ? _classes.Length : _classIndex.Of(length).Index;

    /// <summary>What is registered for a request at the least.</summary>
    public long BytesFor(long length) => _engine.Slabs.RoundToPages(length > _classIndex.Largest ? length : _classIndex.Of(length).BlockSize);

    /// <summary>Who serves a length.</summary>
    public SlabOwner OwnerOf(long length) => length > _classIndex.Largest ? _direct : _classIndex.Of(length);
}
