using System.Diagnostics;
using AllocTools;
using WorkerService.Reporting;

namespace WorkerService.Transfer;

/// <summary>What a pool did from the moment that it was warm.</summary>
internal sealed class PoolBooks(IRmaMemoryPool pool)
{
    private readonly long _warmRegistrations = pool.GetStatistics().Registrations;
    private long _started = Stopwatch.GetTimestamp();

    /// <summary>The transfer begins now.</summary>
    public void StartClock() => _started = Stopwatch.GetTimestamp();

    /// <summary>Sums up a transfer that has just succeeded.</summary>
    public TransferSummary Summarize(string role, string provider, string fileName, long length, byte[] hash, string? savedAs)
    {
        double seconds = Stopwatch.GetElapsedTime(_started).TotalSeconds;
        RmaPoolStatistics statistics = pool.GetStatistics();
        return new TransferSummary
        {
            Role = role,
            Provider = provider,
            FileName = fileName,
            SavedAs = savedAs,
            Bytes = length,
            Seconds = seconds,
            Sha256 = Convert.ToHexStringLower(hash),
            Rents = statistics.Rents,
            Hits = statistics.Hits,
            Misses = statistics.Misses,
            Registrations = statistics.Registrations,
            RegistrationsAfterWarmUp = statistics.Registrations - _warmRegistrations,
            RegisteredBytes = statistics.RegisteredBytes,
        };
    }
}
