using AllocTools.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>Counters of what happens off the warm path.</summary>
internal sealed class PoolCounters
{
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
