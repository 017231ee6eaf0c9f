using System.Collections.Concurrent;
using AllocTools.Diagnostics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Endpoints.Engine;

/// <summary>What a context's endpoints report of themselves, for health checks, and the timers that look after them.</summary>
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

    /// <summary>Looks after the threads of the endpoints.</summary>
    public StuckTurnWatch.Rounds StuckTurns { get; }

    /// <summary>Looks after the peers of endpoints whose transport says nothing of lost ones.</summary>
    public PeerWatch PeerWatch { get; }

    /// <summary>The first failure of an endpoint's progress, permanently; or that of one which is stuck, while it is.</summary>
    public RmaException? Failure => Volatile.Read(ref _failure)
        ?? (Volatile.Read(ref _stuckEndpoints) == 0 ? null : new RmaException($"A call into provider '{Provider}' does not return: {_stuckReasons}, or the machine is busy."));

    public IReadOnlyCollection<string> Hindrances => [.. _hindrances.Values];

    /// <summary>Reports what hinders an endpoint now; null where nothing does.</summary>
    public void ReportHindrance(object endpoint, string? hindrance)
    {
        if (hindrance is null)
            _hindrances.TryRemove(endpoint, out _);
        else
            _hindrances[endpoint] = hindrance;
    }

    /// <summary>An endpoint can make no progress any more.</summary>
    public void ReportFailure(RmaException failure) => Interlocked.CompareExchange(ref _failure, failure, null);

    /// <summary>What an endpoint does on a timer or a thread of its own has failed as nothing should: health checks and the log say so, and the process goes on.</summary>
    public void ReportUnexpected(string what, Exception e)
    {
        Log.UnexpectedEndpointError(Logger, Provider, what, e);
        ReportFailure(e as RmaException ?? new RmaException($"An endpoint of provider '{Provider}' failed at {what}: {e.Message}", innerException: e));
    }

    /// <summary>A call of an endpoint into the transport does not return.</summary>
    /// <param name="reasons">What it may wait for.</param>
    public void ReportStuck(string reasons)
    {
        _stuckReasons = reasons;
        Interlocked.Increment(ref _stuckEndpoints);
    }

    /// <summary>The call has returned.</summary>
    public void ReportReturned() => Interlocked.Decrement(ref _stuckEndpoints);
}
