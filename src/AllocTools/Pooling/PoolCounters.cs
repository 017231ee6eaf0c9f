using AllocTools.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>Counts what happens off the warm path, and has the histograms for it.</summary>
internal sealed class PoolCounters
{
    private PoolInstruments? _instruments;

    public readonly ErrorCounts FailuresByError = new();
    public long Registrations;
    public long Deregistrations;
    public long RegistrationFailures;
    public long DeregistrationFailures;
    public volatile RmaRegistrationFailure? LastRegistrationFailure;
    public long Rejections;
    public long RentTimeouts;
    public long Trims;
    public long TrimmedBytes;

    /// <summary>The pool's histograms; null if the pool is not published.</summary>
    public PoolInstruments? Instruments
    {
        get => Volatile.Read(ref _instruments);
        set => Volatile.Write(ref _instruments, value);
    }

    public void CountRegistrationFailure(Exception failure, TimeProvider time)
    {
        Interlocked.Increment(ref RegistrationFailures);
        FailuresByError.Count(RmaTags.ErrorTypeOf(failure));
        LastRegistrationFailure = new RmaRegistrationFailure(time.GetUtcNow(), failure.Message);
    }

    public void CountTrim(long bytes)
    {
        Interlocked.Increment(ref Trims);
        Interlocked.Add(ref TrimmedBytes, bytes);
    }
}
