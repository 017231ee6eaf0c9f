using AllocTools.Diagnostics;

namespace OpenTelemetry.Metrics;

/// <summary>Adds the pools' metrics to OpenTelemetry.</summary>
public static class AllocToolsMeterProviderBuilderExtensions
{
    /// <summary>Collects the metrics of every pool in the process that publishes them (meter <c>AllocTools</c>).</summary>
    /// <param name="builder">The builder.</param>
    /// <returns>The builder.</returns>
    /// <exception cref="ArgumentNullException">The builder is null.</exception>
    /// <example>
    /// <code>
    /// builder.Services.AddOpenTelemetry()
    ///     .WithMetrics(metrics =&gt; metrics.AddAllocToolsInstrumentation());
    /// </code>
    /// </example>
    public static MeterProviderBuilder AddAllocToolsInstrumentation(this MeterProviderBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.AddMeter(AllocToolsDiagnostics.MeterName);
    }
}
