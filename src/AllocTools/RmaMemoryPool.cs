using System.Buffers;
using System.Runtime.InteropServices;
using AllocTools.Blocks;
using AllocTools.Diagnostics;
using AllocTools.Pooling;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace AllocTools;

/// <summary>A pool of memory that is registered with a <typeparamref name="TProvider"/>: the typed front of one engine.</summary>
/// <typeparam name="TProvider">The provider that opened the context.</typeparam>
/// <remarks>All members are safe to call from any thread.</remarks>
public sealed class RmaMemoryPool<TProvider> : IRmaMemoryPool, IMeteredPool, IEnginePool
    where TProvider : class, IRmaProvider
{
    private readonly PoolEngine _engine;
    private readonly Lock _reconfigureGate = new();
    private RmaMemoryPoolOptions _options;

    /// <summary>Creates a pool. Nothing is registered before <see cref="WarmUpAsync"/> or the first rent.</summary>
    /// <param name="context">An opened provider. The pool takes its own reference, and releases it when it is closed.</param>
    /// <param name="options">Read once, here.</param>
    /// <param name="name">The pool's name in logs, metrics and errors.</param>
    /// <param name="loggerFactory">Where to log; null: nowhere.</param>
    /// <param name="blocks">The allocator that memory comes from; null: a <see cref="PageAllocator"/> according to the
    /// options. A custom allocator chooses pages and nodes itself.</param>
    /// <param name="timeProvider">The clock; null: the system's.</param>
    /// <exception cref="OptionsValidationException">The options are invalid; each failure names the option and its value.</exception>
    /// <exception cref="NotSupportedException">The provider can't give the access that the options ask for, or the system has no huge pages.</exception>
    public RmaMemoryPool(
        IRmaContext context,
        RmaMemoryPoolOptions options,
        string name = RmaMemoryPoolName.Default,
        ILoggerFactory? loggerFactory = null,
        IBlockAllocator? blocks = null,
        TimeProvider? timeProvider = null)
        : this(context, options, name, loggerFactory, blocks, timeProvider, MemoryRoom.OfProcess)
    {
    }

    /// <summary>Like the public constructor, but in a test's control group.</summary>
    internal RmaMemoryPool(
        IRmaContext context,
        RmaMemoryPoolOptions options,
        string name,
        ILoggerFactory? loggerFactory,
        IBlockAllocator? blocks,
        TimeProvider? timeProvider,
        MemoryRoom room)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentException.ThrowIfNullOrEmpty(name);
        options = options.Copy();
        RmaMemoryPoolOptionsValidator.ThrowIfInvalid(name, options, context.Traits);
        _options = options;
        ILogger logger = (loggerFactory ?? NullLoggerFactory.Instance).CreateLogger("AllocTools.RmaMemoryPool");
        CgroupMemory? group = room.ReadGroup();
        if (options.FitDefaultCap(group) is { } lower)
            Log.CapOutOfReach(logger, name, lower);
        else
            WarnOfCap(options, context.Traits, name, logger);
        _engine = new PoolEngine(this, name, context, options, blocks ?? CreateAllocator(options, context.Traits), logger, timeProvider ?? TimeProvider.System, group is null ? null : room);
    }

    /// <inheritdoc/>
    public string Name => _engine.Settings.Name;

    /// <inheritdoc/>
    public IRmaContext Context => _engine.Settings.Context;

    /// <summary>
    /// The options in force: those that the pool was created with, and those that <see cref="Reconfigure"/> has applied
    /// since. This is a copy; changing it has no effect.
    /// </summary>
    public RmaMemoryPoolOptions Options => Volatile.Read(ref _options).Copy();

    /// <summary>
    /// Applies, while the pool is in use, <see cref="RmaMemoryPoolOptions.MaxRegisteredBytes"/>,
    /// <see cref="RmaMemoryPoolOptions.RentTimeout"/> (of waits that begin later), <see cref="RmaMemoryPoolOptions.IdleRetention"/>,
    /// <see cref="RmaMemoryPoolOptions.TrimInterval"/>, <see cref="RmaMemoryPoolOptions.DrainTimeout"/> and
    /// <see cref="RmaMemoryPoolOptions.LeakDetection"/> (of later rents). The other options stay as they were.
    /// If the new cap is lower, idle memory above it is deregistered immediately and the rest as it is returned; until
    /// then no more memory is registered, and a waiter that needs more than the cap is refused.
    /// </summary>
    /// <param name="options">Read once, here.</param>
    /// <exception cref="OptionsValidationException">
    /// They are invalid, or conflict with options that can't change, and nothing was changed; each failure names the option and its value.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    public void Reconfigure(RmaMemoryPoolOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options = options.Copy();
        RmaMemoryPoolOptionsValidator.ThrowIfInvalid(Name, options, Context.Traits);
        lock (_reconfigureGate)
        {
            RmaMemoryPoolOptions next = _options.WithLiveOptionsOf(options);
            RmaMemoryPoolOptionsValidator.ThrowIfInvalid(Name, next, Context.Traits);
            if (next.MaxRegisteredBytes > _options.MaxRegisteredBytes)
                WarnOfCap(next, Context.Traits, Name, _engine.Settings.Logger);
            _engine.Reconfigure(next);
            Volatile.Write(ref _options, next);
        }
    }

    /// <summary>Changes the cap alone, for tests.</summary>
    internal void SetLimit(long bytes) => _engine.Memory.SetLimit(bytes);

    /// <inheritdoc/>
    public RmaBuffer Rent(long length) => _engine.Rent(length);

    /// <inheritdoc/>
    public bool TryRent(long length, out RmaBuffer buffer) => _engine.TryRent(length, out buffer);

    /// <inheritdoc/>
    public ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken = default) =>
        _engine.RentAsync(length, cancellationToken);

    /// <inheritdoc/>
    public RmaBuffer Register(nint address, long length) => _engine.Register(address, length, default, isManaged: false);

    /// <inheritdoc/>
    public unsafe RmaBuffer Register(Memory<byte> memory)
    {
        MemoryHandle pin = memory.Pin();
        // Empty memory has no address, and the error is about its length.
        return _engine.Register(memory.IsEmpty ? -1 : (nint)pin.Pointer, memory.Length, pin, isManaged: MemoryMarshal.TryGetArray<byte>(memory, out _));
    }

    /// <inheritdoc/>
    public void Return(RmaBuffer buffer)
    {
        if (buffer.OwningPool != this)
        {
            throw new ArgumentException(
                buffer.IsDefault ? "This is the default RmaBuffer, not a rented one." : $"The {buffer} belongs to a different pool than this one, '{Name}'.",
                nameof(buffer));
        }
        buffer.Return();
    }

    /// <inheritdoc/>
    public Task WarmUpAsync(CancellationToken cancellationToken = default)
    {
        _engine.CheckOpen();
        return Task.Run(
            () =>
            {
                _engine.WarmUp(cancellationToken);
                RmaPoolStatistics now = GetStatistics();
                Log.WarmedUp(_engine.Settings.Logger, Name, now.RegisteredBytes, now.Registrations, Context.Traits.ProviderName);
            },
            cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<bool> DrainAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        TimeSpan limit = timeout ?? Timeout.InfiniteTimeSpan;
        // The longest time that a timer supports, as for Task.Delay.
        if (limit != Timeout.InfiniteTimeSpan && (limit < TimeSpan.Zero || limit.TotalMilliseconds > uint.MaxValue - 1))
            throw new ArgumentOutOfRangeException(nameof(timeout), limit, "The time must be 0 or more and less than 50 days, or Timeout.InfiniteTimeSpan.");
        return _engine.DrainAsync(limit, cancellationToken);
    }

    /// <summary>Idle bytes in the threads' magazines, for tests.</summary>
    internal long MagazineBytes => _engine.Owners.MagazineBytes;

    /// <summary>Deregisters memory that has been idle since that timestamp or longer, for tests.</summary>
    internal void Trim(long idleSince) => _engine.Owners.Trim(idleSince);

    /// <summary>The memory that was registered at start and is kept for its class, for tests.</summary>
    internal IReadOnlyList<MemoryRegion> InitialRegions => _engine.Owners.InitialRegions;

    /// <summary>The number of process-wide barriers that were used to empty magazines, for tests.</summary>
    internal long Barriers => _engine.Memory.Barriers;

    /// <summary>Whether a new request may register memory although others wait, for tests.</summary>
    internal bool SparesRoomFor(long length) => _engine.Finder.SparesRoomFor(length);

    /// <summary>Whether memory is being registered for waiters, or is about to be, for tests.</summary>
    internal bool ServesWaiters => _engine.ServesWaiters;

    PoolInstruments? IMeteredPool.Instruments
    {
        set => _engine.Counters.Instruments = value;
    }

    ILogger IMeteredPool.Logger => _engine.Settings.Logger;

    long IMeteredPool.LimitBytes => _engine.Memory.Budget.Limit;

    PoolEngine IEnginePool.Engine => _engine;

    /// <inheritdoc/>
    public RmaPoolStatistics GetStatistics() => _engine.GetStatistics();

    /// <summary>
    /// Waits for rented buffers, for at most <see cref="RmaMemoryPoolOptions.DrainTimeout"/>, then deregisters idle
    /// memory on its own thread, so that the caller is not blocked. Buffers that are still rented stay registered and
    /// mapped until they are returned. It never throws; a second call does nothing.
    /// </summary>
    public ValueTask DisposeAsync() => _engine.CloseAsync(Volatile.Read(ref _options).DrainTimeout);

    /// <summary>Like <see cref="DisposeAsync"/>, but without waiting for rented buffers, and on the caller's thread.</summary>
    public void Dispose() => _engine.Dispose();

    private static void WarnOfCap(RmaMemoryPoolOptions options, RmaProviderTraits traits, string name, ILogger logger)
    {
        if (SystemRules.Warning(options, traits, SystemLimits.Read()) is { } warning)
            Log.CapOutOfReach(logger, name, warning);
    }

    private static PageAllocator CreateAllocator(RmaMemoryPoolOptions options, RmaProviderTraits traits) => new(new PageAllocatorOptions
    {
        HugePages = options.HugePages,
        NumaNode = options.NumaNode is { } node ? (node >= 0 ? node : null) : traits.NumaNode,
        // The device's node is only a preference.
        NumaNodeRequired = options.NumaNode is not null,
    });
}
