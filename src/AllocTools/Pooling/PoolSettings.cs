using AllocTools.Caching;
using AllocTools.Diagnostics;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Pooling;

/// <summary>What a pool was made with: its name, context, clock and log, and the options that its parts read.</summary>
internal sealed class PoolSettings(string name, IRmaContext context, RmaMemoryPoolOptions options, ILogger logger, TimeProvider time)
{
    private long _rentTimeoutTicks = options.RentTimeout.Ticks;

    public string Name => name;

    public IRmaContext Context => context;

    public string ProviderName => context.Traits.ProviderName;

    public TimeProvider Time => time;

    public ILogger Logger { get; } = GuardedLogger.Over(logger);

    /// <summary>The access that exposures may grant.</summary>
    public RmaAccess Access { get; } = options.Access | RmaAccess.Local;

    /// <summary>
    /// The access for which slabs, direct and user regions are registered. If each exposure has a registration of its
    /// own, no key of a slab may reach the memory.
    /// </summary>
    public RmaAccess SlabAccess { get; } = RmaAccess.Local | (options.Isolation == RmaIsolation.PerExposure ? RmaAccess.Local : options.Access);

    public RmaIsolation Isolation { get; } = options.Isolation;

    public long MaxSlabBytes { get; } = options.MaxSlabBytes;

    public long MaxIdleDirectBytes { get; } = options.MaxIdleDirectBytes;

    /// <summary>The option <see cref="RmaMemoryPoolOptions.CheckPointers"/>.</summary>
    public bool ChecksPointers { get; } = options.CheckPointers;

    /// <summary>How much a registration cache may keep, unless its creator says otherwise.</summary>
    public RmaRegistrationCacheOptions RegistrationCache { get; } = options.RegistrationCache.Copy();

    /// <summary>How long requests wait. It may be changed while the pool is in use.</summary>
    public TimeSpan RentTimeout
    {
        get => TimeSpan.FromTicks(Volatile.Read(ref _rentTimeoutTicks));
        set => Volatile.Write(ref _rentTimeoutTicks, value.Ticks);
    }
}
