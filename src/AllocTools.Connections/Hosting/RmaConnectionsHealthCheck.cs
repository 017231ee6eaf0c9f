using AllocTools.Endpoints;
using AllocTools.Validation;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace AllocTools.Connections.Hosting;

/// <summary>Says how the connections over a pool are.</summary>
/// <remarks>
/// Unhealthy (or what the registration says instead): their endpoint can make no progress, or they are closed. Degraded: a call into the transport does not return, a listener can't accept, or the memory
/// of many connections that are over is kept, since their peers might still write into it.
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
            return Result(context.Registration.FailureStatus, state == RmaEndpointState.Failed ? "their endpoint can make no progress any more; restart the process (event 87)" : "they are closed");
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
            yield return $"{InWords.Count(now.Ending, "connection that is over keeps", "connections that are over keep")} its memory, since the peer might still write";
    }
}
