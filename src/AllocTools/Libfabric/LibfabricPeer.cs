using AllocTools.Endpoints.Drivers;

namespace AllocTools.Libfabric;

/// <summary>A peer that libfabric knows.</summary>
/// <param name="address">Its address, as the transport has it.</param>
/// <param name="file">Its file, by which it is known whether it is there; null where peers have none.</param>
/// <param name="flow">How it takes messages; null where its address does not say how to find out.</param>
internal sealed class LibfabricPeer(byte[] address, SharedMemoryFile.PeerFile? file, PeerFlow? flow) : RmaDriverPeer(address)
{
    private TransmitLane? _lane;
    private PeerFlow? _flow = flow;
    private long _probed;
    private long _refused;
    private long _refusedSince;

    public SharedMemoryFile.PeerFile? File => file;

    /// <summary>How it takes messages; null where its address does not say how to find out.</summary>
    public PeerFlow? Flow => Volatile.Read(ref _flow);

    /// <summary>The lane that it keeps for itself, because it does not answer; null where it has the same as others.</summary>
    public TransmitLane? Lane
    {
        get => Volatile.Read(ref _lane);
        set => Volatile.Write(ref _lane, value);
    }

    /// <summary>It is in and not lost.</summary>
    public bool IsPresent => !IsRemoved && !IsLost;

    /// <summary>It is lost, and it is certain that nothing of it reaches this process any more.</summary>
    public bool IsGone => !IsRemoved && IsLost && file is { IsLetGo: true };

    /// <summary>The system may be asked about the peer now; not again before the period is over.</summary>
    public bool TryProbe(long now, TimeSpan period, TimeProvider time)
    {
        long last = Volatile.Read(ref _probed);
        return !IsLost && (last == 0 || time.GetElapsedTime(last, now) >= period) && Interlocked.CompareExchange(ref _probed, now, last) == last;
    }

    /// <summary>The transport has just taken nothing for it, and so it has been, time after time, for that long.</summary>
    public bool IsRefusedFor(long now, TimeSpan limit, TimeProvider time)
    {
        long last = Interlocked.Exchange(ref _refused, now);
        if (last == 0 || time.GetElapsedTime(last, now) >= limit)
            Volatile.Write(ref _refusedSince, now);
        return time.GetElapsedTime(Volatile.Read(ref _refusedSince), now) >= limit;
    }

    protected internal override void OnInsertedAgain(RmaDriverPeer latest)
    {
        // One that has started again at the same address shows another word.
        PeerFlow? now = ((LibfabricPeer)latest).Flow;
        if (now?.Gauge != Flow?.Gauge)
            Volatile.Write(ref _flow, now);
    }

    protected internal override void Close() => file?.Dispose();
}
