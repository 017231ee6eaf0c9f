namespace AllocTools.Caching;

/// <summary>
/// A snapshot of the statistics of a registration cache, or of all caches of a pool. Counters only grow; the other
/// values are the state at the time of the call.
/// </summary>
public sealed record RmaRegistrationCacheStatistics
{
    /// <summary>Requests whose memory was already registered.</summary>
    public required long Hits { get; init; }

    /// <summary>Requests for which memory was registered, or which waited for another thread that was registering it.</summary>
    public required long Misses { get; init; }

    /// <summary>Registrations, leased or idle.</summary>
    public required long Entries { get; init; }

    /// <summary>The idle registrations among them.</summary>
    public required long IdleEntries { get; init; }

    /// <summary>The bytes of the registrations; bytes in two of them count twice.</summary>
    public required long RegisteredBytes { get; init; }

    /// <summary>The bytes of the idle registrations.</summary>
    public required long IdleBytes { get; init; }

    /// <summary>Buffers that are rented, or held by an operation or an exposure.</summary>
    public required long Leases { get; init; }

    /// <summary>Idle registrations that were dropped at <see cref="RmaRegistrationCacheOptions.MaxBytes"/> or <see cref="RmaRegistrationCacheOptions.MaxEntries"/>.</summary>
    public required long Evictions { get; init; }

    /// <summary>Idle registrations that were dropped to make room below the pool's cap.</summary>
    public required long Reclaims { get; init; }

    /// <summary>Registrations that were dropped because they were idle for longer than the pool's <see cref="RmaMemoryPoolOptions.IdleRetention"/>.</summary>
    public required long Trims { get; init; }

    /// <summary>Registrations of arrays that were garbage-collected.</summary>
    public required long Collections { get; init; }

    /// <summary>Registrations whose owner has invalidated the memory, by <see cref="RmaRegistrationCache.Invalidate(nint, long)"/> or by disposing it.</summary>
    public required long Invalidations { get; init; }

    /// <summary>Registrations that were replaced by a larger one, or whose memory now belongs to another object.</summary>
    public required long Replacements { get; init; }

    /// <summary>The statistics of a pool without a cache.</summary>
    internal static RmaRegistrationCacheStatistics None { get; } = new()
    {
        Hits = 0,
        Misses = 0,
        Entries = 0,
        IdleEntries = 0,
        RegisteredBytes = 0,
        IdleBytes = 0,
        Leases = 0,
        Evictions = 0,
        Reclaims = 0,
        Trims = 0,
        Collections = 0,
        Invalidations = 0,
        Replacements = 0,
    };

    /// <summary>Adds two statistics.</summary>
    internal RmaRegistrationCacheStatistics Plus(RmaRegistrationCacheStatistics? other) => other is null ? this : new()
    {
        Hits = Hits + other.Hits,
        Misses = Misses + other.Misses,
        Entries = Entries + other.Entries,
        IdleEntries = IdleEntries + other.IdleEntries,
        RegisteredBytes = RegisteredBytes + other.RegisteredBytes,
        IdleBytes = IdleBytes + other.IdleBytes,
        Leases = Leases + other.Leases,
        Evictions = Evictions + other.Evictions,
        Reclaims = Reclaims + other.Reclaims,
        Trims = Trims + other.Trims,
        Collections = Collections + other.Collections,
        Invalidations = Invalidations + other.Invalidations,
        Replacements = Replacements + other.Replacements,
    };
}
