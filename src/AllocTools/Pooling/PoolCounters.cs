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
}
