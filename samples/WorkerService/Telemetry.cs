using System.Net;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace WorkerService;

/// <summary>Exports metrics and spans to where the environment and the section <c>Telemetry</c> say.</summary>
internal static class Telemetry
{
    private const string PrometheusKey = "Telemetry:Prometheus";

    /// <summary>Adds OpenTelemetry where something takes what it collects: OTLP where OTEL_EXPORTER_OTLP_ENDPOINT is set, a Prometheus endpoint where the section's <c>Prometheus</c> is.</summary>
    /// <exception cref="UsageException">The address of the Prometheus endpoint can't be used.</exception>
    public static void AddTelemetry(this HostApplicationBuilder builder)
    {
        string? prometheus = builder.Configuration[PrometheusKey];
        bool hasOtlp = !string.IsNullOrEmpty(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]);
        if (hasOtlp || !string.IsNullOrEmpty(prometheus))
            Add(builder, prometheus, hasOtlp);
    }

    /// <summary>What to say where the system refuses the address of the Prometheus endpoint.</summary>
    public static UsageException CannotListen(HostApplicationBuilder builder, HttpListenerException refused) =>
        new($"{PrometheusKey} is '{builder.Configuration[PrometheusKey]}', where this process can't listen: {refused.Message}.");

    private static void Add(HostApplicationBuilder builder, string? prometheus, bool hasOtlp)
    {
        OpenTelemetryBuilder telemetry = builder.Services.AddOpenTelemetry()
            .ConfigureResource(static resource => resource.AddService("WorkerService"))
            .WithMetrics(metrics =>
            {
                metrics.AddAllocToolsInstrumentation();
                if (!string.IsNullOrEmpty(prometheus))
                    metrics.AddPrometheusHttpListener(listener => Listen(listener, prometheus));
            })
            .WithTracing(traces => traces.AddAllocToolsInstrumentation(builder.Configuration.GetValue<bool>("Telemetry:TraceOperations")));
        if (hasOtlp)
            telemetry.UseOtlpExporter();
    }

    private static void Listen(PrometheusHttpListenerOptions listener, string address)
    {
        if (!Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) || uri.Scheme != Uri.UriSchemeHttp)
            throw new UsageException($"{PrometheusKey} is '{address}'; it must be an address such as http://127.0.0.1:9464/metrics.");
        (listener.Host, listener.Port) = (uri.Host, uri.Port);
        if (uri.AbsolutePath != "/")
            listener.ScrapeEndpointPath = uri.AbsolutePath;
    }
}
