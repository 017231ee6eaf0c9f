using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Diagnostics;

/// <summary>The counters of one endpoint, by kind of operation; also has its histogram while the endpoint is published.</summary>
internal sealed class EndpointCounters
{
    private readonly long[] _operations = new long[Kinds.Length];
    private readonly long[] _bytes = new long[Kinds.Length];
    private readonly ErrorCounts[] _failures = [.. Kinds.Select(_ => new ErrorCounts())];
    private long _lostPeers;
    private long _lostNotifications;
    private EndpointInstruments? _instruments;

    public static RmaOperationKind[] Kinds { get; } = Enum.GetValues<RmaOperationKind>();

    /// <summary>The histogram; null if the endpoint is not published.</summary>
    public EndpointInstruments? Instruments
    {
        get => Volatile.Read(ref _instruments);
        set => Volatile.Write(ref _instruments, value);
    }

    /// <summary>Whether operations must be timed.</summary>
    public bool IsTimed => Instruments is { IsEnabled: true };

    public static string NameOf(RmaOperationKind kind) => kind switch
    {
        RmaOperationKind.Write => "write",
        RmaOperationKind.Read => "read",
        RmaOperationKind.Send => "send",
        _ => "receive",
    };

    /// <summary>Counts a successful operation.</summary>
    public void Succeeded(RmaOperationKind kind, long bytes)
    {
        Interlocked.Increment(ref _operations[(int)kind]);
        Interlocked.Add(ref _bytes[(int)kind], bytes);
    }

    /// <summary>Counts a failed or cancelled operation.</summary>
    /// <returns>The name of its error.</returns>
    public string Failed(RmaOperationKind kind, Exception error)
    {
        string errorType = RmaTags.ErrorTypeOf(error);
        _failures[(int)kind].Count(errorType);
        return errorType;
    }

    /// <summary>Counts a dropped notification.</summary>
    public void LostNotification() => Interlocked.Increment(ref _lostNotifications);

    /// <summary>Counts a lost peer.</summary>
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
