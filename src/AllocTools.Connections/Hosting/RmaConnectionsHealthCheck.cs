using AllocTools.Endpoints;
using AllocTools.Validation;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace AllocTools.Connections.Hosting;

/// <summary>Reports the health of the connections over a pool.</summary>
/// <remarks>
/// Unhealthy (or the status of the registration): their endpoint can't make progress, or they are closed. Degraded: a
/// call into the transport does not return, a listener can't accept, or the memory of many ended connections is kept
/// because their peers may still write to it.
/// </remarks>
internal sealed class RmaConnectionsHealthCheck(RmaConnections connections, RmaConnectionsHealthOptions options) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        RmaConnectionStatistics now = connections.GetStatistics();
        RmaEndpointState state = connections.Endpoint.GetStatistics().State;
        var data = new Dictionary<string, object>
        {
            ["provider"] = connections.Provider,
            ["endpoint"] = state.ToString(),
            ["active"] = now.Active,
            ["ending"] = now.Ending,
            ["bytesSent"] = now.BytesSent,
            ["bytesReceived"] = now.BytesReceived,
            ["creditStalls"] = now.CreditStalls,
            ["endsInOrder"] = now.EndsInOrder,
            ["endsByError"] = now.EndsByError.Values.Sum(),
            ["setUpFailures"] = now.SetUpFailuresByError.Values.Sum(),
        };
        if (state is RmaEndpointState.Failed or RmaEndpointState.Closed)
            return Result(context.Registration.FailureStatus, state == RmaEndpointState.Failed ? "their endpoint can no longer make progress; restart the process (event 87)" : "they are closed");
        string[] troubles = [.. Troubles(now, state)];
        return troubles.Length == 0 ? Result(HealthStatus.Healthy, $"{InWords.Count(now.Active, "connection is open", "connections are open")}") : Result(HealthStatus.Degraded, string.Join("; ", troubles));

        Task<HealthCheckResult> Result(HealthStatus status, string what) =>
            Task.FromResult(new HealthCheckResult(status, $"Connections over pool '{connections.Pool.Name}': {what}.", null, data));
    }

    private IEnumerable<string> Troubles(RmaConnectionStatistics now, RmaEndpointState state)
    {
        if (state == RmaEndpointState.Stuck)
            yield return "a call into the transport does not return";
        if (connections.ListenersInTrouble is > 0 and int listeners)
            yield return $"{InWords.Count(listeners, "listener", "listeners")} can't accept (event 86)";
        if (now.Ending >= options.MaxEnding)
            yield return $"{InWords.Count(now.Ending, "ended connection keeps its memory", "ended connections keep their memory")}, because the peer may still write to it";
    }
}
