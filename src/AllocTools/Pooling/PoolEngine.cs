using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using AllocTools.Blocks;
using AllocTools.Caching;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;

namespace AllocTools.Pooling;

/// <summary>What is behind every pool, whatever its provider: routes a request to its size class and keeps the statistics.</summary>
/// <remarks>
/// A request that the thread's magazine serves ends here; the others go on in <see cref="ColdRequests"/>.
/// Invariants: hits + misses + rejections = requests that were answered; each live registration and the pool itself
/// hold the context, which is released with the last of them.
/// </remarks>
internal sealed partial class PoolEngine : IDisposable
{
    private readonly SizeClass[] _classes;
    private readonly ClassIndex _classIndex;
    private readonly DirectRegions _direct;
    private readonly UserRegions _user;
    private readonly SlabOwner[] _owners;
    private readonly RegistrationCaches _caches = new();
    private readonly WaiterQueue _waiters;
    private readonly TimeProvider _time;
    private readonly bool _hasDefaultClasses;
    private readonly PoolTrimmer _trimmer;
    private readonly Lock _modeGate = new();
    private PoolInstruments? _instruments;
    private bool? _isSlow;

    // Requests up to this length may be served from the thread's magazine: 0 while somebody waits, or once the pool closes.
    private long _warmLimit;
    private long _rentTimeoutTicks;

    /// <summary>What the control group leaves for growth; null where it has no limit.</summary>
    public required MemoryRoom? Room { get; init; }

    public PoolEngine(
        object pool, string name, IRmaContext context, RmaMemoryPoolOptions options, IBlockAllocator blocks, ILogger logger, TimeProvider time)
    {
        Pool = pool;
        Name = name;
        Logger = GuardedLogger.Over(logger);
        Incidents = new PoolIncidents(this);
        Refusals = new Refusals(this);
        _time = time;
        _rentTimeoutTicks = options.RentTimeout.Ticks;
        MaxSlabBytes = options.MaxSlabBytes;
        Access = options.Access | RmaAccess.Local;
        // Where each exposure has a registration of its own, no key of a slab may reach it.
        SlabAccess = options.Isolation == RmaIsolation.PerExposure ? RmaAccess.Local : Access;
        _hasDefaultClasses = RmaMemoryPoolDefaults.AreDefault(options);
        Scrubber = new Scrubber(options);
        ChecksPointers = options.CheckPointers;
        Context = context;
        Exposer = new Exposer(this, options.Isolation);
        Slabs = new SlabFactory(this, blocks);
        Callers = new CallersMemory(this);
        CacheOptions = options.RegistrationCache.Copy();
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
        _direct = new DirectRegions(this, options.MaxIdleDirectBytes, time);
        _user = new UserRegions(this);
        _owners = [.. _classes, _direct, _user];
        _waiters = new WaiterQueue(this);
        Requests = new ColdRequests(this, _classes, _classIndex, _direct, _waiters);
        UpdateMode();
        _context = context.Retain();
        _trimmer = new PoolTrimmer(this, options.TrimInterval, options.IdleRetention, time);
    }

    /// <summary>What is behind a pool.</summary>
    /// <exception cref="ArgumentException">It is not one of this library's.</exception>
    public static PoolEngine Of(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return pool is IEnginePool known
            ? known.Engine
            : throw new ArgumentException($"The pool '{pool.Name}' is a {pool.GetType().Name}; it must be an RmaMemoryPool<TProvider>.", nameof(pool));
    }

    /// <summary>What a registration cache may keep, unless its maker says otherwise.</summary>
    public RmaRegistrationCacheOptions CacheOptions { get; }

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

    /// <summary>Serves what the threads' magazines don't.</summary>
    public ColdRequests Requests { get; }

    public Refusals Refusals { get; }

    public Exposer Exposer { get; }

    public Scrubber Scrubber { get; }

    /// <summary>The option <see cref="RmaMemoryPoolOptions.CheckPointers"/>.</summary>
    public bool ChecksPointers { get; }

    public SlabFactory Slabs { get; }

    /// <summary>Registers memory that callers own.</summary>
    public CallersMemory Callers { get; }

    /// <summary>Registrations of callers' memory that stay when it is returned.</summary>
    public RegistrationCaches Caches => _caches;

    public LeakDetector Leaks { get; }

    public HoldLedger Ledger { get; } = new();

    public PoolCounters Counters { get; } = new();

    /// <summary>What goes wrong where no caller can help it.</summary>
    public PoolIncidents Incidents { get; }

    /// <summary>The size classes and the direct regions.</summary>
    public int ClassCount => _classes.Length + 1;

    /// <summary>What is out: rented, registered by the caller, or quarantined.</summary>
    public long Outstanding => AllOwners.Sum(o => o.Outstanding);

    /// <summary>What callers have. What is quarantined comes back when its endpoint is closed.</summary>
    public long Rented => AllOwners.Sum(o => o.Rented);

    private IEnumerable<SlabOwner> AllOwners => _owners.Concat(_caches.All);

    public RmaBuffer Rent(long length) => TryTakeWarm(length, out RmaBuffer buffer) ? buffer : Requests.Rent(length);

    public bool TryRent(long length, out RmaBuffer buffer) => TryTakeWarm(length, out buffer) || Requests.TryRent(length, out buffer);

    public ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken)
    {
        if (!cancellationToken.IsCancellationRequested && TryTakeWarm(length, out RmaBuffer buffer))
            return new ValueTask<RmaBuffer>(buffer);
        return Requests.RentAsync(length, cancellationToken);
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

    /// <summary>Registers memory of the caller's. The pin is taken over, also where it fails.</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="pin">Keeps it in place.</param>
    /// <param name="isManaged">It is the garbage collector's.</param>
    /// <param name="isReadOnly">It is to be registered as memory that is only read.</param>
    public RmaBuffer Register(nint address, long length, MemoryHandle pin, bool isManaged, bool isReadOnly = false)
    {
        RmaBuffer buffer = _user.Register(address, length, pin, isManaged, isReadOnly);
        Requests.CheckStillOpen(buffer);
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
            throw Refusals.NotOpen();
        }
        // Of classes that nobody asked for, what doesn't fit comes on demand.
        if (!_hasDefaultClasses && warmUp.Incomplete is { } incomplete)
            throw Refusals.Exhausted(incomplete.InitialBlocks * incomplete.BlockSize, $"the {InWords.Count(incomplete.InitialBlocks, "initial block", "initial blocks")} of size class {InWords.Bytes(incomplete.BlockSize)}", "Raise MaxRegisteredBytes, or lower InitialBlocks.");
    }

    /// <summary>What was registered at start and is kept for its class.</summary>
    public IReadOnlyList<MemoryRegion> InitialRegions => [.. _classes.SelectMany(c => c.InitialRegions)];

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

    /// <summary>Gives back what has been idle since that timestamp or longer.</summary>
    public void Trim(long idleSince)
    {
        foreach (SlabOwner owner in AllOwners)
            owner.Trim(idleSince);
    }

    /// <summary>Bytes of direct and user regions that are in use, of those that are so long or longer.</summary>
    public long RegionsInUse(long atLeast, bool directToo) => _user.InUse(atLeast) + _caches.InUse(atLeast) + (directToo ? _direct.InUse(atLeast) : 0);

    /// <summary>Idle bytes of direct regions.</summary>
    public long IdleDirectBytes => _direct.IdleBytes;

    /// <summary>Idle bytes of registration caches.</summary>
    public long IdleCachedBytes => _caches.IdleBytes;

    /// <summary>Idle direct regions are given back, then idle registrations of callers' memory, until so many bytes are free.</summary>
    public long ReclaimRegions(long bytes)
    {
        long reclaimed = _direct.Reclaim(bytes);
        return reclaimed < bytes ? reclaimed + _caches.Reclaim(bytes - reclaimed) : reclaimed;
    }

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

    /// <summary>There may be room. Unlike a release of a block this gives nothing back itself, so that giving back may call it.</summary>
    public void SignalWaiters()
    {
        // The room must be visible before the count of waiters is read; see WaiterQueue.
        Fence.Full();
        if (_waiters.Count != 0)
            _waiters.Signal();
    }

    /// <summary>Process-wide barriers that were passed to empty magazines.</summary>
    public long Barriers => Memory.Barriers;

    /// <summary>Idle bytes in the threads' magazines.</summary>
    public long MagazineBytes => _classes.Sum(c => c.MagazineBytes);

    /// <summary>Memory is being registered for waiters, or is about to be.</summary>
    public bool ServesWaiters => _waiters.IsAtWork || Requests.IsRegistering;

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
        RegistrationCaches = _caches.GetStatistics(),
        SizeClasses = [.. _owners.Select(o => o.GetStatistics()), .. _caches.GetRow()],
    };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void CheckRequest(long length)
    {
        if (length <= 0 || length > Budget.Limit)
            Refusals.ThrowLength(length);
        CheckOpen();
    }
}
