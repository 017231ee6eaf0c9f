using System.Collections.Concurrent;
using AllocTools.Diagnostics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Endpoints.Engine;

/// <summary>Holds the state that a context's endpoints report for health checks, and the timers that monitor them.</summary>
internal sealed class EndpointHealth
{
    private readonly ConcurrentDictionary<object, string> _hindrances = new();
    private RmaException? _failure;
    private int _stuckEndpoints;
    private volatile string _stuckReasons = "";

    public EndpointHealth(string provider, ILogger logger, TimeProvider time)
    {
        Provider = provider;
        Logger = logger;
        Time = time;
        StuckTurns = new StuckTurnWatch.Rounds(time);
        PeerWatch = new PeerWatch(time, e => ReportUnexpected("looking after its peers", e));
    }

    /// <summary>The provider's name.</summary>
    public string Provider { get; }

    public ILogger Logger { get; }

    public TimeProvider Time { get; }

    /// <summary>Monitors the threads of the endpoints.</summary>
    public StuckTurnWatch.Rounds StuckTurns { get; }

    /// <summary>Monitors the endpoints' peers: lost ones that the transport does not report, and slow ones.</summary>
    public PeerWatch PeerWatch { get; }

    /// <summary>The first failure of an endpoint's progress, which is permanent; or the error of a stuck endpoint, while it is stuck.</summary>
    public RmaException? Failure => Volatile.Read(ref _failure)
        ?? (Volatile.Read(ref _stuckEndpoints) == 0 ? null : new RmaException($"A call into provider '{Provider}' does not return: {_stuckReasons}, or the machine is busy."));

    public IReadOnlyCollection<string> Hindrances => [.. _hindrances.Values];

    /// <summary>Reports the current problem of an endpoint; null if there is none.</summary>
    public void ReportHindrance(object endpoint, string? hindrance)
    {
        if (hindrance is null)
            _hindrances.TryRemove(endpoint, out _);
        else
            _hindrances[endpoint] = hindrance;
    }

    /// <summary>Reports that an endpoint can no longer make progress.</summary>
    public void ReportFailure(RmaException failure) => Interlocked.CompareExchange(ref _failure, failure, null);

    /// <summary>Reports an unexpected failure on a timer or a thread of an endpoint: health checks and the log report it, and the process continues.</summary>
    public void ReportUnexpected(string what, Exception e)
    {
        Log.UnexpectedEndpointError(Logger, Provider, what, e);
        ReportFailure(e as RmaException ?? new RmaException($"An endpoint of provider '{Provider}' failed at {what}: {e.Message}", innerException: e));
    }

    /// <summary>Reports that a call of an endpoint into the transport does not return.</summary>
    /// <param name="reasons">The possible causes.</param>
    public void ReportStuck(string reasons)
    {
        _stuckReasons = reasons;
        Interlocked.Increment(ref _stuckEndpoints);
    }

    /// <summary>Reports that the stuck call has returned.</summary>
    public void ReportReturned() => Interlocked.Decrement(ref _stuckEndpoints);
}
