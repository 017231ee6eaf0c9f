using AllocTools;
using AllocTools.Hosting;
using AllocTools.Hosting.Health;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds pools of registered memory to the health checks of an application.</summary>
/// <remarks>Like the service collection itself, use it from one thread, while services are added.</remarks>
public static class RmaMemoryPoolHealthChecksBuilderExtensions
{
    private static readonly TimeSpan LongestTime = TimeSpan.FromHours(24);

    /// <summary>
    /// Adds a check of a pool. Degraded: much of its cap is rented, a request has waited for a long time, a
    /// registration failed recently, or a peer blocks others. Unhealthy: the provider is lost, the warm-up failed, or
    /// the pool is closed. The data of the result are the pool's statistics.
    /// </summary>
    /// <param name="builder">What <c>AddHealthChecks</c> returned.</param>
    /// <param name="poolName">The name of a pool that is added before or after; <c>default</c> is the unnamed one.</param>
    /// <param name="configure">Sets the thresholds.</param>
    /// <param name="name">The check's name; null for <c>rma_pool_</c> followed by the pool's name.</param>
    /// <param name="failureStatus">The status that is reported instead of <see cref="HealthStatus.Unhealthy"/>.</param>
    /// <param name="tags">Tags for selecting checks.</param>
    /// <returns>The builder.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A threshold is out of its range.</exception>
    public static IHealthChecksBuilder AddRmaMemoryPool(
        this IHealthChecksBuilder builder,
        string poolName = RmaMemoryPoolName.Default,
        Action<RmaMemoryPoolHealthOptions>? configure = null,
        string? name = null,
        HealthStatus? failureStatus = null,
        IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(poolName);
        var options = new RmaMemoryPoolHealthOptions();
        configure?.Invoke(options);
        CheckRange(options.MaxRentedShare is >= 0.01 and <= 1, nameof(options.MaxRentedShare), options.MaxRentedShare, "0.01 and 1");
        CheckRange(options.MaxWait >= TimeSpan.Zero && options.MaxWait <= LongestTime, nameof(options.MaxWait), options.MaxWait, "0 and 24 hours");
        CheckRange(
            options.RegistrationFailurePeriod >= TimeSpan.Zero && options.RegistrationFailurePeriod <= LongestTime,
            nameof(options.RegistrationFailurePeriod),
            options.RegistrationFailurePeriod,
            "0 and 24 hours");
        var key = new PoolKey(poolName);
        return builder.Add(new HealthCheckRegistration(
            name ?? $"rma_pool_{poolName}",
            services => new RmaMemoryPoolHealthCheck(
                key.Resolve<IRmaMemoryPool>(services),
                key.Resolve<PoolWarmUpState>(services),
                options,
                services.GetService<TimeProvider>() ?? TimeProvider.System),
            failureStatus,
            tags));

        static void CheckRange(bool holds, string option, object value, string range)
        {
            if (!holds)
                throw new ArgumentOutOfRangeException(nameof(configure), $"{option} is {value}; it must be between {range}.");
        }
    }
}
