namespace AllocTools.Connections;

/// <summary>What a process says of itself when a connection is set up.</summary>
/// <param name="Process">Its random number.</param>
/// <param name="Host">What only processes of the same host have in common (<see cref="LocalHost.Id"/>); empty where it does not say.</param>
/// <param name="ProcessId">Its number there.</param>
/// <param name="HeartbeatInterval">How often it says that it is alive.</param>
/// <param name="PeerTimeout">After which silence it gives a peer up.</param>
/// <param name="OperationTimeout">For how long a write that it has started may run after that; -1 ms for no limit.</param>
/// <param name="DeliveryComplete">Its writes have ended only when their bytes are in place.</param>
internal sealed record ProcessTerms(
    Guid Process, Guid Host, int ProcessId, TimeSpan HeartbeatInterval, TimeSpan PeerTimeout, TimeSpan OperationTimeout, bool DeliveryComplete)
{
    /// <summary>The longest time that a peer may have memory kept for its late writes.</summary>
    private static readonly TimeSpan LongestHold = TimeSpan.FromMinutes(10);

    /// <summary>What holds whichever of two carries a connection: the longer times, and what both promise.</summary>
    public ProcessTerms Or(ProcessTerms other) => this with
    {
        HeartbeatInterval = Longer(HeartbeatInterval, other.HeartbeatInterval),
        PeerTimeout = Longer(PeerTimeout, other.PeerTimeout),
        OperationTimeout = Longer(OperationTimeout, other.OperationTimeout),
        DeliveryComplete = DeliveryComplete && other.DeliveryComplete,
    };

    private static TimeSpan Longer(TimeSpan one, TimeSpan other) => one < TimeSpan.Zero || other < TimeSpan.Zero ? Timeout.InfiniteTimeSpan : one > other ? one : other;

    /// <summary>How long after the end of the control connection a write of the process may still come, where it lives on and nothing stops it.</summary>
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
