using AllocTools.Endpoints.Drivers;

namespace AllocTools.Libfabric;

/// <summary>A peer in libfabric.</summary>
/// <param name="address">The peer's address in the transport's form.</param>
/// <param name="file">The peer's file, which shows whether it still exists; null if peers have none.</param>
/// <param name="flow">The state of the peer's receives; null if its address does not contain the location of its gauge.</param>
internal sealed class LibfabricPeer(byte[] address, SharedMemoryFile.PeerFile? file, PeerFlow? flow) : RmaDriverPeer(address)
{
    private TransmitLane? _lane;
    private PeerFlow? _flow = flow;
    private long _probed;
    private long _refused;
    private long _refusedSince;

    public SharedMemoryFile.PeerFile? File => file;

    /// <summary>The state of the peer's receives; null if its address does not contain the location of its gauge.</summary>
    public PeerFlow? Flow => Volatile.Read(ref _flow);

    /// <summary>The lane that the peer occupies alone because it does not answer; null if it shares the common lane.</summary>
    public TransmitLane? Lane
    {
        get => Volatile.Read(ref _lane);
        set => Volatile.Write(ref _lane, value);
    }

    /// <summary>Whether the peer is inserted and not lost.</summary>
    public bool IsPresent => !IsRemoved && !IsLost;

    /// <summary>
    /// Whether the peer is lost, and certainly no longer affects this process. A peer that was removed is not watched any
    /// more, so its file alone decides.
    /// </summary>
    public bool IsGone => (IsLost || IsRemoved) && file is { IsLetGo: true };

    /// <summary>Returns whether the system may be queried about the peer now. Further calls return false until the period is over.</summary>
    public bool TryProbe(long now, TimeSpan period, TimeProvider time)
    {
        long last = Volatile.Read(ref _probed);
        return !IsLost && (last == 0 || time.GetElapsedTime(last, now) >= period) && Interlocked.CompareExchange(ref _probed, now, last) == last;
    }

    /// <summary>
    /// Notes that the transport did not accept an operation for the peer. Returns whether it has repeatedly refused
    /// operations for the duration of the limit.
    /// </summary>
    public bool IsRefusedFor(long now, TimeSpan limit, TimeProvider time)
    {
        long last = Interlocked.Exchange(ref _refused, now);
        if (last == 0 || time.GetElapsedTime(last, now) >= limit)
            Volatile.Write(ref _refusedSince, now);
        return time.GetElapsedTime(Volatile.Read(ref _refusedSince), now) >= limit;
    }

    protected internal override void OnInsertedAgain(RmaDriverPeer latest)
    {
        // A peer that was restarted at the same address publishes a different word.
        PeerFlow? now = ((LibfabricPeer)latest).Flow;
        if (now?.Gauge != Flow?.Gauge)
            Volatile.Write(ref _flow, now);
    }

    protected internal override void Close() => file?.Dispose();
}
