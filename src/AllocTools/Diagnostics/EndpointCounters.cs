using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Diagnostics;

/// <summary>The counters of one endpoint, by kind of operation; they also hold its histogram while the endpoint is published.</summary>
internal sealed class EndpointCounters
{
    private readonly long[] _operations = new long[Kinds.Length];
    private readonly long[] _bytes = new long[Kinds.Length];
    private readonly ErrorCounts[] _failures = [.. Kinds.Select(_ => new ErrorCounts())];
    private long _lostPeers;
    private long _lostNotifications;
    private EndpointInstruments? _instruments;

    public static RmaOperationKind[] Kinds { get; } = Enum.GetValues<RmaOperationKind>();

    /// <summary>The histogram; null where nobody publishes the endpoint.</summary>
    public EndpointInstruments? Instruments
    {
        get => Volatile.Read(ref _instruments);
        set => Volatile.Write(ref _instruments, value);
    }

    /// <summary>Operations are to be timed.</summary>
    public bool IsTimed => Instruments is { IsEnabled: true };

    public static string NameOf(RmaOperationKind kind) => kind switch
    {
        RmaOperationKind.Write => "write",
        RmaOperationKind.Read => "read",
        RmaOperationKind.Send => "send",
        _ => "receive",
    };

    /// <summary>An operation has moved its bytes.</summary>
    public void Succeeded(RmaOperationKind kind, long bytes)
    {
        Interlocked.Increment(ref _operations[(int)kind]);
        Interlocked.Add(ref _bytes[(int)kind], bytes);
    }

    /// <summary>An operation has failed, or was given up.</summary>
    /// <returns>What its error is called.</returns>
    public string Failed(RmaOperationKind kind, Exception error)
    {
        string errorType = RmaTags.ErrorTypeOf(error);
        _failures[(int)kind].Count(errorType);
        return errorType;
    }

    /// <summary>A notification found no room.</summary>
    public void LostNotification() => Interlocked.Increment(ref _lostNotifications);

    /// <summary>A peer was found to be lost.</summary>
    public void LostPeer() => Interlocked.Increment(ref _lostPeers);

    public RmaEndpointStatistics Snapshot() => new()
    {
        LostPeers = Volatile.Read(ref _lostPeers),
        LostNotifications = Volatile.Read(ref _lostNotifications),
        Operations =
        [
            .. Kinds.Select(kind => new RmaOperationStatistics
            {
                Kind = kind,
                Succeeded = Volatile.Read(ref _operations[(int)kind]),
                Bytes = Volatile.Read(ref _bytes[(int)kind]),
                FailuresByError = _failures[(int)kind].Snapshot(),
            }),
        ],
    };
}
