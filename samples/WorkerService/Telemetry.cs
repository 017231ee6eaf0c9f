using System.Net;
using OpenTelemetry;
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
    public static void AddTelemetry(this HostApplicationBuilder builder, string service)
    {
        string? prometheus = builder.Configuration[PrometheusKey];
        bool hasOtlp = !string.IsNullOrEmpty(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]);
        Uri? address = null;
        if (!string.IsNullOrEmpty(prometheus) && (!Uri.TryCreate(prometheus, UriKind.Absolute, out address) || address.Scheme != Uri.UriSchemeHttp))
            throw new UsageException($"{PrometheusKey} is '{prometheus}'; it must be an address such as http://127.0.0.1:9464/metrics.");
        if (address is null && !hasOtlp)
            return;
        OpenTelemetryBuilder telemetry = builder.Services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService(service))
            .WithMetrics(metrics => metrics.AddAllocToolsInstrumentation())
            .WithTracing(traces => traces.AddAllocToolsInstrumentation(builder.Configuration.GetValue<bool>("Telemetry:TraceOperations")));
        if (address is not null)
        {
            telemetry.WithMetrics(metrics => metrics.AddPrometheusHttpListener(listener =>
                (listener.Host, listener.Port, listener.ScrapeEndpointPath) = (address.Host, address.Port, address.AbsolutePath == "/" ? listener.ScrapeEndpointPath : address.AbsolutePath)));
        }
        if (hasOtlp)
            telemetry.UseOtlpExporter();
    }

    /// <summary>Starts a host.</summary>
    /// <exception cref="UsageException">The system refuses the address of the Prometheus endpoint.</exception>
    public static async Task StartObservedAsync(this IHost host)
    {
        try
        {
            await host.StartAsync();
        }
        catch (InvalidOperationException e) when (e.InnerException is HttpListenerException refused)
        {
            throw new UsageException($"{PrometheusKey} is '{host.Services.GetRequiredService<IConfiguration>()[PrometheusKey]}', where this process can't listen: {refused.Message}.");
        }
    }
}
