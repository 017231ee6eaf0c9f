using AllocTools.Diagnostics;

namespace AllocTools.Connections;

/// <summary>The totals of ended connections, plus the counters of open ones. A connection always counts in exactly one of the two.</summary>
internal sealed class ConnectionTotals
{
    private readonly Lock _gate = new();
    private readonly HashSet<RmaConnection> _live = [];
    private readonly Dictionary<string, long> _ends = [];
    private readonly Dictionary<string, long> _failures = [];
    private RmaConnectionStatistics _over = new();

    /// <summary>Receives the durations of set-ups, with the error of failed ones; may be null.</summary>
    public Action<TimeSpan, string?>? OnSetUp { get; set; }

    public void Add(RmaConnection connection)
    {
        lock (_gate)
            _live.Add(connection);
    }

    public void Remove(RmaConnection connection)
    {
        lock (_gate)
        {
            if (!_live.Remove(connection))
                return;
            _over = Sum_NeedsLock(_over, connection);
            // Connections whose set-up has failed are counted by CountSetUp instead.
            if (!connection.IsStarted)
                return;
            if (connection.ErrorType is { } error)
                Count(_ends, error);
            else
                _over = _over with { EndsInOrder = _over.EndsInOrder + 1 };
        }
    }

    /// <summary>Called when a set-up has ended.</summary>
    public void CountSetUp(TimeSpan time, Exception? error)
    {
        // A set-up that its caller has cancelled has not failed.
        if (error is OperationCanceledException)
            return;
        string? type = error is null ? null : TypeOf(error);
        if (type is not null)
        {
            lock (_gate)
                Count(_failures, type);
        }
        OnSetUp?.Invoke(time, type);
    }

    public RmaConnectionStatistics Snapshot()
    {
        lock (_gate)
        {
            RmaConnectionStatistics sum = _over;
            int ending = 0, active = 0;
            foreach (RmaConnection connection in _live)
            {
                sum = Sum_NeedsLock(sum, connection);
                ending += connection.IsOver ? 1 : 0;
                active += connection is { IsOver: false, IsStarted: true } ? 1 : 0;
            }
            return sum with
            {
                Active = active,
                Ending = ending,
                EndsByError = new Dictionary<string, long>(_ends),
                SetUpFailuresByError = new Dictionary<string, long>(_failures),
            };
        }
    }

    /// <summary>Returns the name of an error in metrics.</summary>
    public static string TypeOf(Exception error) => error switch
    {
        RmaConnectionException connection => connection.ErrorType,
        System.Net.Sockets.SocketException socket => socket.SocketErrorCode.ToString(),
        _ => RmaTags.ErrorTypeOf(error),
    };

    private static RmaConnectionStatistics Sum_NeedsLock(RmaConnectionStatistics sum, RmaConnection connection) => sum with
    {
        BytesSent = sum.BytesSent + connection.Writer.Position,
        BytesReceived = sum.BytesReceived + connection.Reader.Position,
        CreditStalls = sum.CreditStalls + connection.Writer.Stalls,
        CreditStallTime = sum.CreditStallTime + connection.Writer.StalledTime,
    };

    private static void Count(Dictionary<string, long> counts, string error) => counts[error] = counts.GetValueOrDefault(error) + 1;
}
