using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using WorkerService.Application;

namespace WorkerService.Observing;

/// <summary>Exports metrics and spans to where the environment and the section <c>Telemetry</c> say.</summary>
internal static class TelemetryServices
{
    private const string OtlpEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// <summary>Adds OpenTelemetry: OTLP where OTEL_EXPORTER_OTLP_ENDPOINT is set, a Prometheus endpoint where the section's <c>Prometheus</c> is.</summary>
    /// <exception cref="UsageException">The address of the Prometheus endpoint can't be used.</exception>
    public static void AddTelemetry(this IHostApplicationBuilder builder)
    {
        IConfigurationSection section = builder.Configuration.GetSection("Telemetry");
        string? prometheus = section["Prometheus"];
        bool tracesOperations = section.GetValue<bool>("TraceOperations");
        OpenTelemetryBuilder telemetry = builder.Services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService("WorkerService"))
            .WithMetrics(metrics =>
            {
                metrics.AddAllocToolsInstrumentation();
                if (!string.IsNullOrEmpty(prometheus))
                    metrics.AddPrometheusHttpListener(listener => Listen(listener, section.Path, prometheus));
            })
            .WithTracing(traces => traces.AddAllocToolsInstrumentation(tracesOperations));
        if (!string.IsNullOrEmpty(builder.Configuration[OtlpEndpoint]))
            telemetry.UseOtlpExporter();
    }

    private static void Listen(PrometheusHttpListenerOptions listener, string section, string address)
    {
        if (!Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) || uri.Scheme != Uri.UriSchemeHttp)
            throw new UsageException($"{section}:Prometheus is '{address}'; it is an address such as http://127.0.0.1:9464/metrics.");
        listener.Host = uri.Host;
        listener.Port = uri.Port;
        if (uri.AbsolutePath != "/")
            listener.ScrapeEndpointPath = uri.AbsolutePath;
    }
}
