using System.Net;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Samples;

/// <summary>
/// Exports metrics and spans: by OTLP if OTEL_EXPORTER_OTLP_ENDPOINT is set, and at a Prometheus endpoint if
/// <c>Telemetry:Prometheus</c> is set.
/// </summary>
internal static class Telemetry
{
    private const string Key = "Telemetry:Prometheus";

    public static void AddTelemetry(this HostApplicationBuilder builder, string service)
    {
        bool hasOtlp = !string.IsNullOrEmpty(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]), hasPrometheus = builder.Configuration[Key] is { Length: > 0 };
        Uri? address = null;
        if (hasPrometheus && (!Uri.TryCreate(builder.Configuration[Key], UriKind.Absolute, out address) || address.Scheme != Uri.UriSchemeHttp))
            throw new UsageException($"{Key} is '{builder.Configuration[Key]}'; it must be an address such as http://127.0.0.1:9464/metrics.");
        if (!hasPrometheus && !hasOtlp)
            return;
        OpenTelemetryBuilder telemetry = builder.Services.AddOpenTelemetry().ConfigureResource(resource => resource.AddService(service))
            .WithMetrics(metrics => (hasPrometheus ? metrics.AddPrometheusHttpListener(Listen) : metrics).AddAllocToolsInstrumentation())
            .WithTracing(traces => traces.AddAllocToolsInstrumentation(builder.Configuration["Telemetry:TraceOperations"] is "true" or "True"));
        if (hasOtlp)
            telemetry.UseOtlpExporter();

        void Listen(PrometheusHttpListenerOptions listener)
        {
            (listener.Host, listener.Port) = (address!.Host, address.Port);
            if (address.AbsolutePath != "/")
                listener.ScrapeEndpointPath = address.AbsolutePath;
        }
    }

    /// <summary>Starts a host. If the system refuses the address of the Prometheus endpoint, the error says so.</summary>
    public static async Task StartObservedAsync(this IHost host)
    {
        try
        {
            await host.StartAsync();
        }
        catch (InvalidOperationException e) when (e.InnerException is HttpListenerException refused)
        {
            throw new UsageException($"{Key} is '{host.Services.GetRequiredService<IConfiguration>()[Key]}', where this process can't listen: {refused.Message}.");
        }
    }
}
