using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Diagnostics;

/// <summary>The counters of one endpoint, by kind of operation; also has its histogram while the endpoint is published.</summary>
internal sealed class EndpointCounters
{
    private readonly long[] _operations = new long[Kinds.Length];
    private readonly long[] _bytes = new long[Kinds.Length];
    private readonly ErrorCounts[] _failures = [.. Kinds.Select(_ => new ErrorCounts())];
    private readonly long[] _peerChanges = new long[PeerStates.Length];
    private readonly long[] _retries = new long[Kinds.Length];
    private long _lostNotifications;
    private EndpointInstruments? _instruments;

    public static RmaOperationKind[] Kinds { get; } = Enum.GetValues<RmaOperationKind>();

    public static RmaPeerState[] PeerStates { get; } = Enum.GetValues<RmaPeerState>();

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

    public static string NameOf(RmaPeerState state) => state switch
    {
        RmaPeerState.Up => "up",
        RmaPeerState.Slow => "slow",
        _ => "lost",
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

    /// <summary>Counts an operation that is repeated.</summary>
    public void Retried(RmaOperationKind kind) => Interlocked.Increment(ref _retries[(int)kind]);

    /// <summary>Counts a dropped notification.</summary>
    public void LostNotification() => Interlocked.Increment(ref _lostNotifications);

    /// <summary>Counts a peer's change to a state.</summary>
    public void PeerChanged(RmaPeerState state) => Interlocked.Increment(ref _peerChanges[(int)state]);

    /// <summary>Returns the number of all successful operations so far.</summary>
    public long Succeeded() => Kinds.Sum(kind => Volatile.Read(ref _operations[(int)kind]));

    public RmaEndpointStatistics Snapshot() => new()
    {
        PeerChanges = PeerStates.ToDictionary(state => state, state => Volatile.Read(ref _peerChanges[(int)state])),
        LostNotifications = Volatile.Read(ref _lostNotifications),
        Operations =
        [
            .. Kinds.Select(kind => new RmaOperationStatistics
            {
                Kind = kind,
                Succeeded = Volatile.Read(ref _operations[(int)kind]),
                Bytes = Volatile.Read(ref _bytes[(int)kind]),
                Retries = Volatile.Read(ref _retries[(int)kind]),
                FailuresByError = _failures[(int)kind].Snapshot(),
            }),
        ],
    };
}
