using AllocTools.Endpoints;

namespace AllocTools.Connections;

/// <summary>The properties that a process reports when a connection is set up.</summary>
/// <param name="Process">Its random number.</param>
/// <param name="Host">A value that only processes of the same host share (<see cref="LocalHost.Id"/>); empty if it is not reported.</param>
/// <param name="ProcessId">Its process id there.</param>
/// <param name="HeartbeatInterval">How often it reports that it is alive.</param>
/// <param name="PeerTimeout">The silence after which it gives up a peer.</param>
/// <param name="OperationTimeout">How long a write that it has started may run after that; -1 ms for no limit.</param>
/// <param name="DeliveryComplete">Whether its writes end only when their bytes are in place.</param>
/// <param name="Integrity">The weakest check value with which it uses a connection; in the listener's answer, the one
/// that is used.</param>
internal sealed record ProcessTerms(
    Guid Process, Guid Host, int ProcessId, TimeSpan HeartbeatInterval, TimeSpan PeerTimeout, TimeSpan OperationTimeout, bool DeliveryComplete, RmaIntegrity Integrity)
{
    /// <summary>The longest time for which memory is kept for late writes of a peer.</summary>
    private static readonly TimeSpan LongestHold = TimeSpan.FromMinutes(10);

    /// <summary>
    /// Combines the terms of two transports, either of which may carry a connection: the longer times, and the common
    /// guarantees.
    /// </summary>
    public ProcessTerms Or(ProcessTerms other) => this with
    {
        HeartbeatInterval = Longer(HeartbeatInterval, other.HeartbeatInterval),
        PeerTimeout = Longer(PeerTimeout, other.PeerTimeout),
        OperationTimeout = Longer(OperationTimeout, other.OperationTimeout),
        DeliveryComplete = DeliveryComplete && other.DeliveryComplete,
        Integrity = Stronger(Integrity, other.Integrity),
    };

    /// <summary>Returns the stronger one of two check values.</summary>
    public static RmaIntegrity Stronger(RmaIntegrity one, RmaIntegrity other) => one > other ? one : other;

    private static TimeSpan Longer(TimeSpan one, TimeSpan other) => one < TimeSpan.Zero || other < TimeSpan.Zero ? Timeout.InfiniteTimeSpan : one > other ? one : other;

    /// <summary>
    /// How long after the end of the control connection a write of the process may still arrive, if the process
    /// continues to run and nothing stops the write.
    /// </summary>
    public TimeSpan LatestWrite
    {
        get
        {
            if (OperationTimeout < TimeSpan.Zero || PeerTimeout < TimeSpan.Zero)
                return LongestHold;
            TimeSpan time = PeerTimeout + OperationTimeout;
            return time < LongestHold ? time : LongestHold;
        }
    }
}
