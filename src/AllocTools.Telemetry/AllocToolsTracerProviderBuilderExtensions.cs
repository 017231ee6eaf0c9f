using AllocTools.Diagnostics;

namespace OpenTelemetry.Trace;

/// <summary>Adds the pools' spans to OpenTelemetry.</summary>
public static class AllocToolsTracerProviderBuilderExtensions
{
    /// <summary>Collects the spans of the activity source <c>AllocTools</c>.</summary>
    /// <param name="builder">The builder.</param>
    /// <returns>The builder.</returns>
    /// <exception cref="ArgumentNullException">The builder is null.</exception>
    public static TracerProviderBuilder AddAllocToolsInstrumentation(this TracerProviderBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.AddSource(AllocToolsDiagnostics.ActivitySourceName);
    }
}
