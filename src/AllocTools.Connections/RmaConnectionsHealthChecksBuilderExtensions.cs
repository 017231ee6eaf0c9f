using AllocTools;
using AllocTools.Connections;
using AllocTools.Connections.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds connections over registered memory to the health checks of an application.</summary>
public static class RmaConnectionsHealthChecksBuilderExtensions
{
    /// <summary>
    /// Adds a check of the connections over a pool. Degraded: a call into the transport does not return, a listener
    /// can't accept, or the memory of many ended connections is kept. Unhealthy: their endpoint can't make progress,
    /// or they are closed. The data of the result are the connections' statistics.
    /// </summary>
    /// <param name="builder">What <c>AddHealthChecks</c> returned.</param>
    /// <param name="poolName">The name of a pool whose connections are added before or after; <c>default</c> is the unnamed one.</param>
    /// <param name="configure">Sets the thresholds.</param>
    /// <param name="name">The check's name; null for <c>rma_connections_</c> followed by the pool's name.</param>
    /// <param name="failureStatus">The status that is reported instead of <see cref="HealthStatus.Unhealthy"/>.</param>
    /// <param name="tags">Tags for selecting checks.</param>
    /// <returns>The builder.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A threshold is out of its range.</exception>
    public static IHealthChecksBuilder AddRmaConnections(
        this IHealthChecksBuilder builder,
        string poolName = RmaMemoryPoolName.Default,
        Action<RmaConnectionsHealthOptions>? configure = null,
        string? name = null,
        HealthStatus? failureStatus = null,
        IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        var options = new RmaConnectionsHealthOptions();
        configure?.Invoke(options);
        if (options.MaxEnding is < 1 or > 1 << 20)
            throw new ArgumentOutOfRangeException(nameof(configure), $"MaxEnding is {options.MaxEnding}; it must be between 1 and 1,048,576.");
        return builder.Add(new HealthCheckRegistration(
            name ?? $"rma_connections_{poolName}",
            services => new RmaConnectionsHealthCheck(services.GetRequiredKeyedService<RmaConnections>(poolName), options),
            failureStatus,
            tags));
    }
}
