using System.Buffers;
using System.Runtime.CompilerServices;
using AllocTools.Blocks;
using AllocTools.Caching;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;

namespace AllocTools.Pooling;

/// <summary>
/// Implements every pool, whatever its provider: makes its parts, routes requests to them, and gives memory that
/// becomes free to the waiters.
/// </summary>
/// <remarks>
/// A request that the thread's magazine serves ends here; the others go on in <see cref="ColdRequests"/>. The parts are
/// made from the bottom up: each gets those that it uses, and none knows the engine except as
/// <see cref="IPoolSignals"/>.
/// </remarks>
internal sealed class PoolEngine : IPoolSignals, IDisposable
{
    private readonly PoolSettings _settings;
    private readonly PoolParts _parts;
    private readonly SlabOwners _owners;
    private readonly ClassIndex _classIndex;
    private readonly WaiterLine _line;
    private readonly WaiterQueue _waiters;
    private readonly Registrar _registrar;
    private readonly ColdRequests _requests;
    private readonly BlockFinder _finder;
    private readonly PoolTotals _totals;
    private readonly PoolTrimmer _trimmer;
    private readonly PoolShutdown _shutdown;
    private readonly bool _hasDefaultClasses;
    private readonly Lock _modeGate = new();
    private bool? _isSlow;

    // Requests up to this length may be served from the thread's magazine: 0 while callers wait, or once the pool closes.
    private long _warmLimit;

    /// <param name="pool">The pool as callers know it.</param>
    /// <param name="name">Its name.</param>
    /// <param name="context">The opened provider; a reference of its own is taken.</param>
    /// <param name="options">The options, which are valid.</param>
    /// <param name="blocks">Where memory comes from.</param>
    /// <param name="logger">Where to log.</param>
    /// <param name="time">The clock.</param>
    /// <param name="room">What the control group leaves for growth; null if it has no limit.</param>
    public PoolEngine(object pool, string name, IRmaContext context, RmaMemoryPoolOptions options, IBlockAllocator blocks, ILogger logger, TimeProvider time, MemoryRoom? room)
    {
        IReadOnlyList<SizeClassOptions> classes = RmaMemoryPoolDefaults.SizeClassesOf(options);
        _hasDefaultClasses = RmaMemoryPoolDefaults.AreDefault(options);
        _settings = new PoolSettings(name, context, options, logger, time);
        PoolCounters counters = new();
        PoolIncidents incidents = new(_settings, counters);
        _owners = new SlabOwners(classes.Count);
        PoolLifetime lifetime = new(_settings, incidents, _owners);
        PoolMemory memory = new(options.MaxRegisteredBytes, blocks, _owners, this);
        LeakDetector leaks = new(_settings, options.LeakDetection);
        // One line for each class, and one for the direct regions.
        _line = new WaiterLine(classes.Count + 1);
        _totals = new PoolTotals(_settings, counters, incidents, lifetime, memory, _owners, leaks, _line);
        Refusals refusals = new(_settings, counters, lifetime, memory, _owners, _totals);
        SlabFactory slabs = new(_settings, counters, incidents, lifetime, memory, _owners.Caches, blocks, room);
        _parts = new PoolParts
        {
            Pool = pool,
            Settings = _settings,
            Counters = counters,
            Incidents = incidents,
            Lifetime = lifetime,
            Memory = memory,
            Slabs = slabs,
            Callers = new CallersMemory(_settings, counters, memory, slabs, refusals),
            Exposer = new Exposer(_settings, memory, slabs, refusals, this),
            Leaks = leaks,
            Refusals = refusals,
            Scrubber = new Scrubber(options),
            Signals = this,
        };
        for (int i = classes.Count - 1; i >= 0; i--)
        {
            SizeClass? next = i + 1 < classes.Count ? _owners.Classes[i + 1] : null;
            _owners.Classes[i] = new SizeClass(_parts, classes[i].BlockSize, classes[i].InitialBlocks) { Index = i, Next = next };
        }
        _owners.Complete(new DirectRegions(_parts), new UserRegions(_parts));
        _classIndex = new ClassIndex(_owners.Classes);
        _finder = new BlockFinder(_settings, lifetime, memory, _owners, _classIndex, _line, refusals);
        _waiters = new WaiterQueue(_settings, counters, incidents, lifetime, memory, leaks, refusals, _line, _finder, this);
        _registrar = new Registrar(_settings, incidents, _owners, _line, _finder, _waiters);
        _requests = new ColdRequests(_settings, memory, leaks, refusals, _line, _finder, _waiters, _registrar);
        UpdateMode();
        lifetime.HoldContext();
        _trimmer = new PoolTrimmer(_owners, incidents, options.TrimInterval, options.IdleRetention, time);
        _shutdown = new PoolShutdown(_settings, incidents, lifetime, memory, _owners, leaks, _waiters, _registrar, _trimmer, this);
    }

    /// <summary>Returns the engine behind a pool.</summary>
    /// <exception cref="ArgumentException">It is not one of this library's.</exception>
    public static PoolEngine Of(IRmaMemoryPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return pool is IEnginePool known
            ? known.Engine
            : throw new ArgumentException($"The pool '{pool.Name}' is a {pool.GetType().Name}; it must be an RmaMemoryPool<TProvider>.", nameof(pool));
    }

    public PoolSettings Settings => _settings;

    public PoolMemory Memory => _parts.Memory;

    public SlabOwners Owners => _owners;

    /// <summary>Registers memory that callers own.</summary>
    public CallersMemory Callers => _parts.Callers;

    public PoolCounters Counters => _parts.Counters;

    public BlockFinder Finder => _finder;

    /// <summary>Whether memory is being registered for waiters, or is about to be.</summary>
    public bool ServesWaiters => _waiters.IsAtWork || _registrar.IsAtWork;

    public RmaBuffer Rent(long length) => TryTakeWarm(length, out RmaBuffer buffer) ? buffer : _requests.Rent(length);

    public bool TryRent(long length, out RmaBuffer buffer) => TryTakeWarm(length, out buffer) || _requests.TryRent(length, out buffer);

    public ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken)
    {
        if (!cancellationToken.IsCancellationRequested && TryTakeWarm(length, out RmaBuffer buffer))
            return new ValueTask<RmaBuffer>(buffer);
        return _requests.RentAsync(length, cancellationToken);
    }

    /// <summary>
    /// Takes a block of the thread's magazine. One unsigned comparison refuses lengths of 0 and less, those over the
    /// largest class, and all while callers wait or the pool closes.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryTakeWarm(long length, out RmaBuffer buffer)
    {
        if ((ulong)(length - 1) < (ulong)Volatile.Read(ref _warmLimit))
            return _classIndex.Of(length).TryTakeWarm(length, out buffer);
        buffer = default;
        return false;
    }

    /// <summary>Registers a caller's memory. It takes over the pin, even if it fails.</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="pin">Keeps it in place.</param>
    /// <param name="isManaged">Whether it belongs to the garbage collector.</param>
    /// <param name="isReadOnly">Whether to register it as memory that is only read.</param>
    public RmaBuffer Register(nint address, long length, MemoryHandle pin, bool isManaged, bool isReadOnly = false)
    {
        RmaBuffer buffer = _owners.User.Register(address, length, pin, isManaged, isReadOnly);
        _parts.Lifetime.CheckStillOpen(buffer);
        return buffer;
    }

    /// <summary>Creates the implementation of a registration cache.</summary>
    public CachedRegions AddCache(RmaRegistrationCacheOptions options) => new(_parts, _owners.Caches, options);

    /// <exception cref="ObjectDisposedException">The pool is draining or closed.</exception>
    public void CheckOpen() => _parts.Lifetime.CheckOpen();

    /// <summary>Registers the blocks that the classes are to have at start.</summary>
    public void WarmUp(CancellationToken cancellationToken)
    {
        CheckOpen();
        PoolWarmUp warmUp = new(_settings);
        warmUp.Run(_owners.Classes, cancellationToken);
        if (!_parts.Lifetime.IsOpen)
        {
            // The pool was closed meanwhile, after it had given back what was idle then.
            foreach (SizeClass sizeClass in _owners.Classes)
                sizeClass.Reclaim(long.MaxValue, initialToo: true);
            throw _parts.Lifetime.NotOpen();
        }
        // The default classes were not asked for: those of their initial blocks that do not fit are registered on demand.
        if (!_hasDefaultClasses && warmUp.Incomplete is { } incomplete)
            throw _parts.Refusals.NoRoomAtStart(incomplete);
    }

    /// <summary>Applies those options that may change in use; see <see cref="RmaMemoryPool{TProvider}.Reconfigure"/>.</summary>
    public void Reconfigure(RmaMemoryPoolOptions options)
    {
        CheckOpen();
        _settings.RentTimeout = options.RentTimeout;
        _trimmer.Change(options.TrimInterval, options.IdleRetention);
        _parts.Leaks.SetLevel(options.LeakDetection);
        foreach (SizeClass sizeClass in _owners.Classes)
            sizeClass.ReadLeakLevel();
        if (options.MaxRegisteredBytes != Memory.Budget.Limit)
            Memory.SetLimit(options.MaxRegisteredBytes);
    }

    /// <summary>
    /// Updates the mode: rents and returns bypass the magazines while callers wait, over a lowered cap, and once the
    /// pool closes. When that begins, the magazines are emptied, once.
    /// </summary>
    public void UpdateMode()
    {
        bool becomesSlow;
        lock (_modeGate)
        {
            bool isSlow = !_parts.Lifetime.IsOpen || _line.Count != 0 || Memory.Budget.Excess != 0;
            if (_isSlow == isSlow)
                return;
            // A pool begins without magazines.
            becomesSlow = isSlow && _isSlow is not null;
            _isSlow = isSlow;
            int mode = (isSlow ? SlabOwner.SlowMode : 0) | (_parts.Scrubber.IsOn ? SlabOwner.ScrubMode : 0);
            foreach (SlabOwner owner in _owners.Permanent)
                owner.SetMode(mode);
            Volatile.Write(ref _warmLimit, isSlow ? 0 : _classIndex.Largest);
        }
        if (becomesSlow)
            Memory.GatherForSlowMode();
    }

    public void AfterRelease()
    {
        // The block must be visible before the count of waiters is read; see WaiterQueue.
        Fence.Full();
        Memory.GiveBackExcess();
        if (_line.Count != 0)
            _waiters.Signal();
        _parts.Lifetime.NoteDrained();
    }

    public void SignalWaiters()
    {
        // The room must be visible before the count of waiters is read; see WaiterQueue.
        Fence.Full();
        if (_line.Count != 0)
            _waiters.Signal();
    }

    public RmaPoolStatistics GetStatistics() => _totals.GetStatistics();

    public ValueTask<bool> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken) => _shutdown.DrainAsync(timeout, cancellationToken);

    public ValueTask CloseAsync(TimeSpan drainTimeout) => _shutdown.CloseAsync(drainTimeout);

    /// <summary>Closes without waiting for rented buffers.</summary>
    public void Dispose() => _shutdown.Close();
}

/// <summary>A pool of this library.</summary>
internal interface IEnginePool
{
    /// <summary>The engine behind it.</summary>
    PoolEngine Engine { get; }
}
