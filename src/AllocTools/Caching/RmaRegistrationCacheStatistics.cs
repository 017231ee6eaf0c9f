namespace AllocTools.Caching;

/// <summary>A snapshot of a registration cache, or of all of a pool's. Counters only grow; the others are the state at the moment of the call.</summary>
public sealed record RmaRegistrationCacheStatistics
{
    /// <summary>Requests whose memory was registered.</summary>
    public required long Hits { get; init; }

    /// <summary>Requests for which memory was registered, or which waited for another thread that was registering it.</summary>
    public required long Misses { get; init; }

    /// <summary>Registrations, leased or idle.</summary>
    public required long Entries { get; init; }

    /// <summary>Those of them that nobody has.</summary>
    public required long IdleEntries { get; init; }

    /// <summary>The bytes of the registrations; what two of them cover counts twice.</summary>
    public required long RegisteredBytes { get; init; }

    /// <summary>The bytes of those that nobody has.</summary>
    public required long IdleBytes { get; init; }

    /// <summary>Buffers that are out, or held by an operation or an exposure.</summary>
    public required long Leases { get; init; }

    /// <summary>Idle registrations that were given back at <see cref="RmaRegistrationCacheOptions.MaxBytes"/> or <see cref="RmaRegistrationCacheOptions.MaxEntries"/>.</summary>
    public required long Evictions { get; init; }

    /// <summary>Idle registrations that were given back to make room below the pool's cap.</summary>
    public required long Reclaims { get; init; }

    /// <summary>Registrations that were given back because they were idle for longer than the pool's <see cref="RmaMemoryPoolOptions.IdleRetention"/>.</summary>
    public required long Trims { get; init; }

    /// <summary>Registrations of arrays that the garbage collector has found to be of no use any more.</summary>
    public required long Collections { get; init; }

    /// <summary>Registrations whose owner has said that the memory goes, by <see cref="RmaRegistrationCache.Invalidate(nint, long)"/> or by disposing it.</summary>
    public required long Invalidations { get; init; }

    /// <summary>Registrations that one of more bytes covers, or whose memory has become another object's.</summary>
    public required long Replacements { get; init; }

    /// <summary>Those of a pool that has no cache.</summary>
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

    /// <summary>Both together.</summary>
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
