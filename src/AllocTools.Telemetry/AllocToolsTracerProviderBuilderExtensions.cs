using AllocTools.Diagnostics;

namespace OpenTelemetry.Trace;

/// <summary>Adds the pools' spans to OpenTelemetry.</summary>
public static class AllocToolsTracerProviderBuilderExtensions
{
    /// <summary>Collects the spans of provider openings, registrations and deregistrations (activity source <c>AllocTools</c>).</summary>
    /// <param name="builder">The builder.</param>
    /// <param name="endpointOperations">Whether each endpoint operation has a span, too (<c>AllocTools.Operations</c>).
    /// These are many spans, and each one allocates.</param>
    /// <returns>The builder.</returns>
    /// <exception cref="ArgumentNullException">The builder is null.</exception>
    /// <example>
    /// <code>
    /// builder.Services.AddOpenTelemetry()
    ///     .WithTracing(traces =&gt; traces.AddAllocToolsInstrumentation());
    /// </code>
    /// </example>
    public static TracerProviderBuilder AddAllocToolsInstrumentation(this TracerProviderBuilder builder, bool endpointOperations = false)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.AddSource(AllocToolsDiagnostics.ActivitySourceName);
        return endpointOperations ? builder.AddSource(AllocToolsDiagnostics.OperationActivitySourceName) : builder;
    }
}
