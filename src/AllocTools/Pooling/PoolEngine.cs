using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using AllocTools.Blocks;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;

namespace AllocTools.Pooling;

/// <summary>What is behind every pool, whatever its provider: routes a request to its size class and keeps the statistics.</summary>
/// <remarks>
/// A request goes to the smallest class whose blocks are long enough, or to the direct regions. An idle block ends it
/// there. Else the class grows, if the budget has room; at the cap idle memory of the others is given back first, then a
/// larger class's idle block is taken, and only then is the request refused or does it wait.
/// Invariants: hits + misses + rejections = requests that were answered; each live registration and the pool itself
/// hold the context, which is released with the last of them.
/// </remarks>
internal sealed class PoolEngine : IDisposable
{
    private const int Open = 0;
    private const int Draining = 1;
    private const int Closed = 2;
    private const int MaxLooks = 100;

    private readonly SizeClass[] _classes;
    private readonly ClassIndex _classIndex;
    private readonly DirectRegions _direct;
    private readonly UserRegions _user;
    private readonly SlabOwner[] _owners;
    private readonly WaiterQueue _waiters;
    private readonly Registrar _registrar;
    private readonly TimeProvider _time;
    private readonly bool _hasDefaultClasses;
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly IDisposable _context;
    private readonly PoolTrimmer _trimmer;
    private readonly Lock _modeGate = new();
    private PoolInstruments? _instruments;
    private int _state;
    private bool? _isSlow;

    // Requests up to this length may be served from the thread's magazine: 0 while somebody waits, or once the pool closes.
    private long _warmLimit;
    private long _rentTimeoutTicks;

    private int _liveRegions = 1;

    /// <summary>What the control group leaves for growth; null where it has no limit.</summary>
    public required MemoryRoom? Room { get; init; }

    public PoolEngine(
        object pool, string name, IRmaContext context, RmaMemoryPoolOptions options, IBlockAllocator blocks, ILogger logger, TimeProvider time)
    {
        Pool = pool;
        Name = name;
        Logger = GuardedLogger.Over(logger);
        Incidents = new PoolIncidents(this);
        _time = time;
        _rentTimeoutTicks = options.RentTimeout.Ticks;
        MaxSlabBytes = options.MaxSlabBytes;
        Access = options.Access | RmaAccess.Local;
        // Where each exposure has a registration of its own, no key of a slab may reach it.
        SlabAccess = options.Isolation == RmaIsolation.PerExposure ? RmaAccess.Local : Access;
        _hasDefaultClasses = RmaMemoryPoolDefaults.AreDefault(options);
        Scrubber = new Scrubber(options);
        Context = context;
        CheckRemoteAccess(context.Traits);
        Slabs = new SlabFactory(this, blocks);
        Leaks = new LeakDetector(this, options.LeakDetection);
        IReadOnlyList<SizeClassOptions> classes = RmaMemoryPoolDefaults.SizeClassesOf(options);
        _classes = new SizeClass[classes.Count];
        for (int i = _classes.Length - 1; i >= 0; i--)
        {
            SizeClass? next = i + 1 < _classes.Length ? _classes[i + 1] : null;
            _classes[i] = new SizeClass(this, classes[i].BlockSize, classes[i].InitialBlocks, time) { Index = i, Next = next };
        }
        _classIndex = new ClassIndex(_classes);
        Memory = new PoolMemory(this, _classes, options.MaxRegisteredBytes);
        Exposer = new Exposer(this, options.Isolation);
        _direct = new DirectRegions(this, options.MaxIdleDirectBytes, time);
        _user = new UserRegions(this);
        _owners = [.. _classes, _direct, _user];
        _waiters = new WaiterQueue(this);
        _registrar = new Registrar(this, _waiters);
        UpdateMode();
        _context = context.Retain();
        _trimmer = new PoolTrimmer(this, options.TrimInterval, options.IdleRetention, time);
    }

    /// <summary>The public face over this engine.</summary>
    public object Pool { get; }

    public string Name { get; }

    public ILogger Logger { get; }

    public IRmaContext Context { get; }

    /// <summary>What exposures may grant.</summary>
    public RmaAccess Access { get; }

    /// <summary>What slabs, direct and user regions are registered for.</summary>
    public RmaAccess SlabAccess { get; }

    public long MaxSlabBytes { get; }

    public Budget Budget => Memory.Budget;

    /// <summary>The pool's histograms; null where nobody publishes it.</summary>
    public PoolInstruments? Instruments
    {
        get => Volatile.Read(ref _instruments);
        set => Volatile.Write(ref _instruments, value);
    }

    /// <summary>How long requests wait.</summary>
    public TimeSpan RentTimeout => TimeSpan.FromTicks(Volatile.Read(ref _rentTimeoutTicks));

    /// <summary>The clock.</summary>
    public TimeProvider Time => _time;

    /// <summary>Keeps to the cap.</summary>
    public PoolMemory Memory { get; }

    public Exposer Exposer { get; }

    public Scrubber Scrubber { get; }

    public SlabFactory Slabs { get; }

    public LeakDetector Leaks { get; }

    public HoldLedger Ledger { get; } = new();

    public PoolCounters Counters { get; } = new();

    /// <summary>What goes wrong where no caller can help it.</summary>
    public PoolIncidents Incidents { get; }

    /// <summary>The size classes and the direct regions.</summary>
    public int ClassCount => _classes.Length + 1;

    /// <summary>It is neither draining nor closed.</summary>
    public bool IsOpen => Volatile.Read(ref _state) == Open;

    public bool IsClosed => Volatile.Read(ref _state) == Closed;

    /// <summary>What is out: rented, registered by the caller, or quarantined.</summary>
    public long Outstanding => _owners.Sum(o => o.Outstanding);

    /// <summary>What callers have. What is quarantined comes back when its endpoint is closed.</summary>
    public long Rented => _owners.Sum(o => o.Rented);

    public RmaBuffer Rent(long length) => TryTakeWarm(length, out RmaBuffer buffer) ? buffer : RentCold(length);

    public bool TryRent(long length, out RmaBuffer buffer) => TryTakeWarm(length, out buffer) || TryRentCold(length, out buffer);

    public ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken)
    {
        if (!cancellationToken.IsCancellationRequested && TryTakeWarm(length, out RmaBuffer buffer))
            return new ValueTask<RmaBuffer>(buffer);
        return RentColdAsync(length, cancellationToken);
    }

    /// <summary>One unsigned comparison refuses lengths of 0 and less, those over the largest class, and all while callers wait or the pool closes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryTakeWarm(long length, out RmaBuffer buffer)
    {
        if ((ulong)(length - 1) < (ulong)Volatile.Read(ref _warmLimit))
            return _classIndex.Of(length).TryTakeWarm(length, out buffer);
        buffer = default;
        return false;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private RmaBuffer RentCold(long length)
    {
        CheckRequest(length);
        if (TryTakeAtOnce(length, out RmaBuffer buffer, out bool isLate))
            return Leaks.Sample(buffer);
        CountRefusal(isLate);
        throw isLate ? LateFor(length, RentTimeout)
            : NeverFits(length) ? DoesNotFit(length)
            : Exhausted(length, InWords.Size(length), "Return buffers sooner, raise MaxRegisteredBytes, or use RentAsync to wait.");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryRentCold(long length, out RmaBuffer buffer)
    {
        CheckRequest(length);
        if (TryTakeAtOnce(length, out buffer, out bool isLate))
        {
            buffer = Leaks.Sample(buffer);
            return true;
        }
        CountRefusal(isLate);
        buffer = default;
        return false;
    }

    /// <summary>Takes what is idle. Whatever calls the provider is done by another thread: the caller is never blocked.</summary>
    private ValueTask<RmaBuffer> RentColdAsync(long length, CancellationToken cancellationToken)
    {
        CheckRequest(length);
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled<RmaBuffer>(cancellationToken);
        TimeSpan timeout = RentTimeout;
        bool isImpatient = timeout == TimeSpan.Zero;
        bool mayRegister;
        try
        {
            if (TryTakeIdleAsNewcomer(length, out RmaBuffer buffer, out mayRegister))
                return new ValueTask<RmaBuffer>(Leaks.Sample(buffer));
            // What is in transit may make room; one that does not wait in line looks again as a rent does.
            mayRegister |= isImpatient && _waiters.Count == 0 && Memory.InTransit.Bytes != 0;
            if (!mayRegister && (isImpatient || NeverFits(length)))
                throw Refused(length);
        }
        catch (Exception e)
        {
            // Only what the caller did wrong is thrown at once; that the pool is closed meanwhile, or has no room, is the task's.
            return ValueTask.FromException<RmaBuffer>(e);
        }
        Waiter waiter = new(length, ClassOf(length), BytesFor(length), _time.GetTimestamp())
        {
            Timeout = isImpatient ? Timeout.InfiniteTimeSpan : timeout,
            IsImpatient = isImpatient,
        };
        _waiters.Add(waiter, cancellationToken);
        if (mayRegister)
        {
            // Closing fails those that wait once.
            if (!IsOpen)
                _waiters.FailAll(NotOpen);
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
        if (!IsOpen)
            _waiters.FailAll(NotOpen);
        _waiters.Signal();
    }

    /// <summary>For the <see cref="Registrar"/>: takes as a rent does. False: the request is to wait in line.</summary>
    public bool TryTakeByRegistering(Waiter waiter, out RmaBuffer buffer)
    {
        long length = waiter.Length;
        if (waiter.IsImpatient ? TryTakeAtOnce(length, out buffer, out _) : TryTakeAsNewcomer(length, out buffer))
            return true;
        return waiter.IsImpatient || NeverFits(length) ? throw Refused(length) : false;
    }

    /// <summary>Takes for a waiter whose turn it is: an idle block, or what is registered for it. The caller must check <see cref="IsOpen"/> after.</summary>
    /// <exception cref="RmaPoolExhaustedException">The cap was lowered below what it waits for.</exception>
    public bool TryTakeForWaiter(long length, bool mayRegister, out RmaBuffer buffer)
    {
        if (length > Budget.Limit)
        {
            Interlocked.Increment(ref Counters.Rejections);
            throw Exhausted(length, $"{InWords.Size(length)}, after the cap was lowered");
        }
        return mayRegister ? TryTakeAnywhere(length, out buffer) : TryTakeIdle(length, out buffer);
    }

    /// <summary>A request's time is up.</summary>
    public RmaPoolExhaustedException TimedOut(long length, TimeSpan timeout)
    {
        CountRefusal(isLate: true);
        return LateFor(length, timeout);
    }

    private RmaPoolExhaustedException LateFor(long length, TimeSpan timeout) =>
        Exhausted(length, $"{InWords.Size(length)} within RentTimeout ({timeout})", "Return buffers sooner, raise MaxRegisteredBytes, or raise RentTimeout.");

    private void CountRefusal(bool isLate)
    {
        // First: nobody sees more time-outs than refusals.
        Interlocked.Increment(ref Counters.Rejections);
        if (isLate)
            Interlocked.Increment(ref Counters.RentTimeouts);
    }

    private RmaPoolExhaustedException Refused(long length)
    {
        CountRefusal(isLate: false);
        return NeverFits(length) ? DoesNotFit(length) : Exhausted(length, InWords.Size(length), "Return buffers sooner, raise MaxRegisteredBytes, or raise RentTimeout to wait.");
    }

    /// <summary>Registers memory of the caller's. The pin is taken over, also where it fails.</summary>
    public RmaBuffer Register(nint address, long length, MemoryHandle pin, bool isManaged)
    {
        RmaBuffer buffer;
        try
        {
            if (address == 0)
                throw new ArgumentOutOfRangeException(nameof(address), "The address must not be 0.");
            CheckRequest(length);
            buffer = _user.Register(address, length, pin, isManaged);
        }
        catch (Exception e)
        {
            if (SlabFactory.IsStillRegistered(e))
                PinsForGood.Keep(pin);
            else
                Incidents.Guard("unpinning memory of the caller's", () => pin.Dispose());
            throw;
        }
        CheckStillOpen(buffer);
        return buffer;
    }

    /// <summary>Registers what the classes are to have at start.</summary>
    public void WarmUp(CancellationToken cancellationToken)
    {
        CheckOpen();
        PoolWarmUp warmUp = new(this, _time);
        warmUp.Run(_classes, cancellationToken);
        if (Volatile.Read(ref _state) != Open)
        {
            // Closed meanwhile, after it had given back what was idle then.
            foreach (SizeClass sizeClass in _classes)
                sizeClass.Reclaim(long.MaxValue, initialToo: true);
            throw NotOpen();
        }
        // Of classes that nobody asked for, what doesn't fit comes on demand.
        if (!_hasDefaultClasses && warmUp.Incomplete is { } incomplete)
            throw Exhausted(incomplete.InitialBlocks * incomplete.BlockSize, $"the {InWords.Count(incomplete.InitialBlocks, "initial block", "initial blocks")} of size class {InWords.Bytes(incomplete.BlockSize)}", "Raise MaxRegisteredBytes, or lower InitialBlocks.");
    }

    /// <summary>What was registered at start and is kept for its class.</summary>
    public IReadOnlyList<MemoryRegion> InitialRegions => [.. _classes.SelectMany(c => c.InitialRegions)];

    public RmaPoolExhaustedException Exhausted(long length, string what, string advice = "Return buffers sooner, or raise MaxRegisteredBytes.")
    {
        RmaPoolStatistics now = GetStatistics();
        return new RmaPoolExhaustedException(
            $"The pool '{Name}' can't serve {what}: MaxRegisteredBytes is {InWords.Size(Budget.Limit)}, {InWords.Size(now.RegisteredBytes)} are registered, "
            + $"{InWords.Count(now.RentedBuffers, "buffer is", "buffers are")} out and {InWords.Count(now.PendingRequests, "request waits", "requests wait")}."
            + $"{(Memory.InTransit.Bytes is > 0 and long passing ? $" {InWords.Size(passing)} are being registered or given back." : "")}"
            + $"{(now.StrandedBytes == 0 ? "" : $" {InWords.Size(now.StrandedBytes)} could not be given back to the system; see the log.")} {advice}",
            length,
            Budget.Limit);
    }

    private RmaPoolExhaustedException DoesNotFit(long length) => Exhausted(
        length,
        $"{InWords.Size(length)} beside the {InWords.Size(InitialRegions.Sum(r => r.Length))} of its InitialBlocks, which stay with their size classes",
        "Raise MaxRegisteredBytes, or lower InitialBlocks.");

    /// <summary>Nothing that anybody returns makes room for it: what was registered at start stays with its classes.</summary>
    private bool NeverFits(long length) =>
        length > _classIndex.Largest && BytesFor(length) > Budget.Limit - InitialRegions.Sum(r => r.Length);

    /// <summary>Takes over those options that may change in use; see <see cref="RmaMemoryPool{TProvider}.Reconfigure"/>.</summary>
    public void Reconfigure(RmaMemoryPoolOptions options)
    {
        CheckOpen();
        Volatile.Write(ref _rentTimeoutTicks, options.RentTimeout.Ticks);
        _trimmer.Change(options.TrimInterval, options.IdleRetention);
        Leaks.SetLevel(options.LeakDetection);
        foreach (SizeClass sizeClass in _classes)
            sizeClass.ReadLeakLevel();
        if (options.MaxRegisteredBytes != Budget.Limit)
            Memory.SetLimit(options.MaxRegisteredBytes);
    }

    /// <summary>
    /// Rents and returns go past the magazines while callers wait, over a lowered cap, and once the pool closes. When that
    /// begins the magazines are emptied, once.
    /// </summary>
    public void UpdateMode()
    {
        bool becomesSlow;
        lock (_modeGate)
        {
            bool isSlow = Volatile.Read(ref _state) != Open || _waiters.Count != 0 || Budget.Excess != 0;
            if (_isSlow == isSlow)
                return;
            // A pool begins without magazines.
            becomesSlow = isSlow && _isSlow is not null;
            _isSlow = isSlow;
            int mode = (isSlow ? SlabOwner.SlowMode : 0) | (Scrubber.IsOn ? SlabOwner.ScrubMode : 0);
            foreach (SlabOwner owner in _owners)
                owner.SetMode(mode);
            Volatile.Write(ref _warmLimit, isSlow ? 0 : _classIndex.Largest);
        }
        if (becomesSlow)
            Memory.GatherForSlowMode();
    }

    public void CountRegistrationFailure(Exception failure)
    {
        Interlocked.Increment(ref Counters.RegistrationFailures);
        Counters.FailuresByError.Count(RmaTags.ErrorTypeOf(failure));
        Counters.LastRegistrationFailure = new RmaRegistrationFailure(_time.GetUtcNow(), failure.Message);
    }

    public void CountTrim(long bytes)
    {
        Interlocked.Increment(ref Counters.Trims);
        Interlocked.Add(ref Counters.TrimmedBytes, bytes);
    }

    /// <summary>Gives back what has been idle since that timestamp or longer.</summary>
    public void Trim(long idleSince)
    {
        foreach (SlabOwner owner in _owners)
            owner.Trim(idleSince);
    }

    /// <summary>Bytes of direct and user regions that are in use, of those that are so long or longer.</summary>
    public long RegionsInUse(long atLeast, bool directToo) => _user.InUse(atLeast) + (directToo ? _direct.InUse(atLeast) : 0);

    /// <summary>Idle bytes of direct regions.</summary>
    public long IdleDirectBytes => _direct.IdleBytes;

    /// <summary>Idle direct regions are given back, until so many bytes are free.</summary>
    public long ReclaimDirect(long bytes) => _direct.Reclaim(bytes);

    /// <summary>A block or bytes came free.</summary>
    public void AfterRelease()
    {
        // The block must be visible before the count of waiters is read; see WaiterQueue.
        Fence.Full();
        Memory.GiveBackExcess();
        if (_waiters.Count != 0)
            _waiters.Signal();
        NoteDrained();
    }

    private void NoteDrained()
    {
        if (Volatile.Read(ref _state) != Open && Rented == 0)
            _drained.TrySetResult();
    }

    /// <summary>There may be room. Unlike a release of a block this gives nothing back itself, so that giving back may call it.</summary>
    public void SignalWaiters()
    {
        // The room must be visible before the count of waiters is read; see WaiterQueue.
        Fence.Full();
        if (_waiters.Count != 0)
            _waiters.Signal();
    }

    public void AddRegion() => Interlocked.Increment(ref _liveRegions);

    public void RemoveRegion()
    {
        if (Interlocked.Decrement(ref _liveRegions) == 0)
            Incidents.Guard("releasing its context", _context.Dispose);
    }

    /// <summary>Stops renting, and waits until nothing is out.</summary>
    /// <returns>False when the time is up before.</returns>
    public async ValueTask<bool> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        int before = Interlocked.CompareExchange(ref _state, Draining, Open);
        if (before == Open)
        {
            UpdateMode();
            _waiters.FailAll(NotOpen);
        }
        // The state must be visible before what is out is read; see AfterRelease.
        Fence.Full();
        NoteDrained();
        // Whoever disposes the pool has given up on what is out; one that is disposed meanwhile ends the wait.
        if (before != Closed && !_drained.Task.IsCompleted)
        {
            try
            {
                await _drained.Task.WaitAsync(timeout, _time, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                return Rented == 0;
            }
        }
        return Rented == 0;
    }

    public async ValueTask CloseAsync(TimeSpan drainTimeout)
    {
        if (IsClosed)
            return;
        await DrainAsync(drainTimeout, CancellationToken.None).ConfigureAwait(false);
        // What is idle is given back by a thread of its own: the provider may take long, and the caller must not be blocked.
        TaskCompletionSource closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        OnDemandThread closer = new($"{Name} closes", () =>
        {
            Incidents.Guard("closing the pool", Dispose);
            closed.TrySetResult();
            return Timeout.InfiniteTimeSpan;
        });
        closer.Signal();
        closer.End();
        await closed.Task.ConfigureAwait(false);
    }

    /// <summary>Closes without waiting for what is out.</summary>
    public void Dispose()
    {
        int before = Interlocked.Exchange(ref _state, Closed);
        if (before == Closed)
            return;
        UpdateMode();
        if (before == Open)
            _waiters.FailAll(NotOpen);
        _waiters.Close();
        _registrar.Close();
        _trimmer.Dispose();
        foreach (SlabOwner owner in _owners)
            Incidents.Guard("giving back idle memory", owner.ReleaseIdle);
        // What is still out is waited for no longer.
        _drained.TrySetResult();
        long outstanding = Outstanding;
        if (outstanding != 0)
        {
            Log.ClosedWithBuffersOut(Logger, Name, outstanding, Budget.Reserved);
            Leaks.ReportOut();
        }
        RemoveRegion();
    }

    /// <summary>Process-wide barriers that were passed to empty magazines.</summary>
    public long Barriers => Memory.Barriers;

    /// <summary>Idle bytes in the threads' magazines.</summary>
    public long MagazineBytes => _classes.Sum(c => c.MagazineBytes);

    /// <summary>Memory is being registered for waiters, or is about to be.</summary>
    public bool ServesWaiters => _waiters.IsAtWork || _registrar.IsAtWork;

    public RmaPoolStatistics GetStatistics() => new()
    {
        LimitBytes = Budget.Limit,
        IsClosed = Volatile.Read(ref _state) != Open,
        RegisteredBytes = Budget.Reserved,
        Registrations = Volatile.Read(ref Counters.Registrations),
        Deregistrations = Volatile.Read(ref Counters.Deregistrations),
        RegistrationFailures = Volatile.Read(ref Counters.RegistrationFailures),
        DeregistrationFailures = Volatile.Read(ref Counters.DeregistrationFailures),
        UnmapFailures = Incidents.UnmapFailures,
        StrandedBytes = Incidents.StrandedBytes,
        DeferredReturns = Incidents.DeferredReturns,
        LateReturns = Incidents.LateReturns,
        UnexpectedErrors = Incidents.UnexpectedErrors,
        RegistrationFailuresByError = Counters.FailuresByError.Snapshot(),
        RentTimeouts = Volatile.Read(ref Counters.RentTimeouts),
        Rejections = Volatile.Read(ref Counters.Rejections),
        Trims = Volatile.Read(ref Counters.Trims),
        TrimmedBytes = Volatile.Read(ref Counters.TrimmedBytes),
        Leaks = Leaks.Leaks,
        PendingRequests = _waiters.Count,
        OldestPendingRequest = _waiters.OldestSince is { } since ? _time.GetElapsedTime(since) : TimeSpan.Zero,
        LastRegistrationFailure = Counters.LastRegistrationFailure,
        SizeClasses = [.. _owners.Select(o => o.GetStatistics())],
    };

    /// <summary>
    /// For requests that don't wait their turn: what is in transit and may be what is missing is waited for, as it is for
    /// the caller's own registrations. Nobody is refused for what is only passing.
    /// </summary>
    /// <param name="length">Bytes.</param>
    /// <param name="buffer">The memory.</param>
    /// <param name="isLate">It was refused after a wait for <see cref="RentTimeout"/>, where that is a limit.</param>
    private bool TryTakeAtOnce(long length, out RmaBuffer buffer, out bool isLate)
    {
        TimeSpan most = RentTimeout;
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
            CheckOpen();
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

    /// <summary>Takes only what none of the older waiters misses, see <see cref="PoolMemory.IsIndifferent"/>. The caller must check <see cref="IsOpen"/> after.</summary>
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
        long bytes = index == _classes.Length ? least : Math.Max(least, Slabs.RoundToPages(_classes[index].NextGrowth));
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
    private bool CheckStillOpen(RmaBuffer taken)
    {
        if (Volatile.Read(ref _state) == Open)
            return true;
        taken.GiveBack();
        throw NotOpen();
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
    public long BytesFor(long length) => Slabs.RoundToPages(length > _classIndex.Largest ? length : _classIndex.Of(length).BlockSize);

    /// <summary>Who serves a length.</summary>
    public SlabOwner OwnerOf(long length) => length > _classIndex.Largest ? _direct : _classIndex.Of(length);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void CheckRequest(long length)
    {
        if (length <= 0 || length > Budget.Limit)
            ThrowLength(length);
        CheckOpen();
    }

    /// <exception cref="ObjectDisposedException">It is draining or closed.</exception>
    public void CheckOpen()
    {
        if (Volatile.Read(ref _state) != Open)
            throw NotOpen();
    }

    public ObjectDisposedException NotOpen() => new(
        nameof(IRmaMemoryPool), $"The pool '{Name}' is {(IsClosed ? "disposed" : "draining")}: nothing can be rented any more.");

    [DoesNotReturn]
    private void ThrowLength(long length) => throw new ArgumentOutOfRangeException(
        nameof(length), length, $"A request of the pool '{Name}' must be between 1 byte and {InWords.Size(Budget.Limit)} long (its option MaxRegisteredBytes).");

    private void CheckRemoteAccess(RmaProviderTraits traits)
    {
        RmaAccess remote = Access & (RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        if (remote == RmaAccess.None)
            return;
        if (!traits.RemoteAccess)
            throw new NotSupportedException($"The pool '{Name}' asks for {remote} by its option Access, but the provider '{traits.ProviderName}' gives no remote access: the transport has none, or the provider's own option Access leaves it out.");
        if (!traits.RemoteAccessEnforced)
            Log.RemoteAccessNotEnforced(Logger, Name, traits.ProviderName);
    }
}
