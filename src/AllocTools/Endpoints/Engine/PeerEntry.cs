using AllocTools.Libfabric;
namespace AllocTools.Endpoints.Engine;

/// <summary>A peer that an endpoint knows.</summary>
/// <param name="address">Its address, as the transport has it.</param>
/// <param name="generation">Which of those that have had its number it is.</param>
/// <param name="file">Its file, where it has one.</param>
internal sealed class PeerEntry(byte[] address, long generation, SharedMemoryFile.PeerFile? file)
{
    private PeerLoss? _loss;
    private TransmitLane? _lane;
    private long _probed;
    private long _refused;
    private long _refusedSince;

    public byte[] Address { get; } = address;

    public long Generation { get; } = generation;

    /// <summary>Its file, by which it is known whether it is there; null where peers have none.</summary>
    public SharedMemoryFile.PeerFile? File { get; } = file;

    /// <summary>What its address said of its transport, when it was inserted last; null where it said nothing.</summary>
    public TransportDescription? Transport { get; set; }

    /// <summary>How it takes messages; null where its address does not say how to find out.</summary>
    public PeerFlow? Flow { get; set; }

    /// <summary>How often it was inserted and not yet removed. Guarded by the table.</summary>
    public int Insertions { get; set; } = 1;

    /// <summary>The lane that it keeps for itself, because it does not answer; null where it has the same as others.</summary>
    public TransmitLane? Lane
    {
        get => Volatile.Read(ref _lane);
        set => Volatile.Write(ref _lane, value);
    }

    /// <summary>Why it is lost; null where it is not.</summary>
    public PeerLoss? Loss => Volatile.Read(ref _loss);

    /// <summary>It is lost, and it is certain that nothing of it reaches this process any more.</summary>
    public bool IsGone => Loss is not null && File is { IsLetGo: true };

    /// <summary>The system may be asked about the peer now; not again before the period is over.</summary>
    public bool TryProbe(long now, TimeSpan period, TimeProvider time)
    {
        long last = Volatile.Read(ref _probed);
        return Loss is null && (last == 0 || time.GetElapsedTime(last, now) >= period) && Interlocked.CompareExchange(ref _probed, now, last) == last;
    }

    /// <summary>The transport has just taken nothing for it, and so it has been, time after time, for that long.</summary>
    public bool IsRefusedFor(long now, TimeSpan limit, TimeProvider time)
    {
        long last = Interlocked.Exchange(ref _refused, now);
        if (last == 0 || time.GetElapsedTime(last, now) >= limit)
            Volatile.Write(ref _refusedSince, now);
        return time.GetElapsedTime(Volatile.Read(ref _refusedSince), now) >= limit;
    }

    /// <returns>False: it was lost before.</returns>
    public bool TryLose(PeerLoss loss) => Interlocked.CompareExchange(ref _loss, loss, null) is null;
}

/// <summary>Why a peer is lost.</summary>
internal sealed record PeerLoss(string Reason, int Error);
