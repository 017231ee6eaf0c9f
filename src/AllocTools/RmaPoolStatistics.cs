using System.Globalization;
using AllocTools.Caching;
using AllocTools.Validation;

namespace AllocTools;

/// <summary>A snapshot of a pool's statistics. Counters only grow; the other values are the state at the time of the call.</summary>
public sealed record RmaPoolStatistics
{
    /// <summary>The cap in force, in bytes.</summary>
    public required long LimitBytes { get; init; }

    /// <summary>Whether the pool is closed or draining: it no longer rents buffers.</summary>
    public bool IsClosed { get; init; }

    /// <summary>
    /// The registered memory, in bytes: slabs, direct regions, user regions, cached registrations and registrations of
    /// exposures, and memory that could not be released (<see cref="StrandedBytes"/>).
    /// </summary>
    public required long RegisteredBytes { get; init; }

    /// <summary>Registrations made with the provider.</summary>
    public required long Registrations { get; init; }

    /// <summary>Registrations undone.</summary>
    public required long Deregistrations { get; init; }

    /// <summary>Registrations that the provider refused.</summary>
    public required long RegistrationFailures { get; init; }

    /// <summary>
    /// The failed registrations, by the symbol of the error (<c>ENOMEM</c>) or the exception's type. At most 32 kinds
    /// are distinguished; further ones count as <c>_OTHER</c>.
    /// </summary>
    public IReadOnlyDictionary<string, long> RegistrationFailuresByError { get; init; } = new Dictionary<string, long>();

    /// <summary>The last failed registration; null if there was none.</summary>
    public RmaRegistrationFailure? LastRegistrationFailure { get; init; }

    /// <summary>Deregistrations that failed; their memory stays mapped.</summary>
    public required long DeregistrationFailures { get; init; }

    /// <summary>How often deregistered memory could not be unmapped.</summary>
    public long UnmapFailures { get; init; }

    /// <summary>Bytes that could not be deregistered or unmapped. They stay mapped, and count against the cap.</summary>
    public long StrandedBytes { get; init; }

    /// <summary>Buffers that were disposed while operations or exposures held them; each comes back when the last of these ends.</summary>
    public long DeferredReturns { get; init; }

    /// <summary>Buffers that came back after the pool was disposed.</summary>
    public long LateReturns { get; init; }

    /// <summary>Errors on the pool's timer and during its closing that could not be reported to a caller; they are in the log.</summary>
    public long UnexpectedErrors { get; init; }

    /// <summary>Requests that were refused at the cap, at once or after a wait.</summary>
    public required long Rejections { get; init; }

    /// <summary>The rejected requests that had waited for <see cref="RmaMemoryPoolOptions.RentTimeout"/>.</summary>
    public long RentTimeouts { get; init; }

    /// <summary>Slabs and direct regions that were deregistered because they had been idle for too long.</summary>
    public required long Trims { get; init; }

    /// <summary>Their bytes.</summary>
    public required long TrimmedBytes { get; init; }

    /// <summary>Watched buffers that were never returned and that nothing refers to any more.</summary>
    public required long Leaks { get; init; }

    /// <summary>Requests that wait for room now.</summary>
    public required int PendingRequests { get; init; }

    /// <summary>How long the oldest pending request has waited; zero if none waits.</summary>
    public TimeSpan OldestPendingRequest { get; init; }

    /// <summary>The statistics of all registration caches of the pool together; null if there was none.</summary>
    public RmaRegistrationCacheStatistics? RegistrationCache { get; init; }

    /// <summary>The size classes in ascending order, then the direct regions and the user regions, and the cached registrations if there is a cache.</summary>
    public required IReadOnlyList<RmaSizeClassStatistics> SizeClasses { get; init; }

    /// <summary>Rents that were served from memory already registered.</summary>
    public long Hits => SizeClasses.Sum(c => c.Hits);

    /// <summary>Rents that had to register, or to wait for a registration, on the request's own path.</summary>
    public long Misses => SizeClasses.Sum(c => c.Misses);

    /// <summary>All rents that were served.</summary>
    public long Rents => Hits + Misses;

    /// <summary>Rented buffers.</summary>
    public long RentedBuffers => SizeClasses.Sum(c => c.RentedBuffers);

    /// <summary>The bytes of rented and quarantined buffers, counted in whole blocks.</summary>
    public long RentedBytes => SizeClasses.Sum(c => c.RentedBytes);

    /// <summary>
    /// Registered memory outside the size classes: registrations of exposures, memory that is being registered at the
    /// moment, and memory that could not be released.
    /// </summary>
    public long OtherRegisteredBytes => Math.Max(0, RegisteredBytes - SizeClasses.Sum(c => c.RegisteredBytes));

    /// <summary>Returned buffers that an operation or an exposure still holds, such as one that timed out.</summary>
    public long QuarantinedBuffers => SizeClasses.Sum(c => c.QuarantinedBuffers);

    /// <summary>Returns the statistics in one line, for people; the format may change.</summary>
    public override string ToString()
    {
        string classes = string.Join(", ", SizeClasses.Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Name}: {c.IdleBuffers:N0} of {c.TotalBuffers:N0} idle")));
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{RegisteredBytes:N0} of {LimitBytes:N0} bytes registered, {InWords.Count(RentedBuffers, "buffer", "buffers")} rented, {QuarantinedBuffers:N0} quarantined, {InWords.Count(PendingRequests, "request", "requests")} waiting; {InWords.Count(Hits, "hit", "hits")}, {InWords.Count(Misses, "miss", "misses")}, {InWords.Count(Rejections, "rejection", "rejections")}; {InWords.Count(Registrations, "registration", "registrations")}, {RegistrationFailures:N0} refused, {InWords.Count(Deregistrations, "deregistration", "deregistrations")}; {classes}");
    }
}
