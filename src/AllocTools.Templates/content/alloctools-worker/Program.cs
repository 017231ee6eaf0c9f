//#if (isHost)
// dotnet run   writes into memory of its own process, and ends
//#else
// dotnet run -- --role peer   exposes memory, waits until a worker has written into it, and ends
// dotnet run                  is the worker: it asks the peer for its memory, writes into it by RMA, and ends
//#endif
using AllocTools.Hosting;
#if (isLibfabric)
using AllocTools.Libfabric;
#elif (isUcx)
using AllocTools.Ucx;
#else
using AllocTools.HostMemory;
#endif
using AllocToolsWorker1;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Options;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

try
{
    Run(args);
}
catch (Exception e) when (e is OptionsValidationException or RmaPoolStartException or InvalidDataException or IOException { InnerException: AddressInUseException })
{
    // Each message names what can't be used, and where it is.
    Console.Error.WriteLine(e switch
    {
        OptionsValidationException invalid => string.Join('\n', invalid.Failures),
        InvalidDataException file => $"{file.Message} {file.GetBaseException().Message}",
//#if (isHost)
        IOException inUse => $"{inUse.Message} Change Urls in appsettings.json, or end the program that has the port.",
//#else
        IOException inUse => $"{inUse.Message} Change {TransferOptions.Section}:{nameof(TransferOptions.Peer)} (of the peer) or Urls (of the worker) in appsettings.json, or end the program that has the port.",
//#endif
        _ => e.Message,
    });
    Environment.ExitCode = 1;
}

static void Run(string[] args)
{
    WebApplicationBuilder builder = WebApplication.CreateBuilder(args);

    // This adds a pool of registered memory with an endpoint. Classes accept IRmaMemoryPool and IRmaEndpoint in their constructors.
#if (isLibfabric)
    builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools")).RequireSection();
#elif (isUcx)
    builder.Services.AddRmaMemoryPool<UcxProvider>(builder.Configuration.GetSection("AllocTools")).RequireSection();
#else
    builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools")).RequireSection();
#endif
    builder.Services.AddHealthChecks().AddRmaMemoryPool();

    // Prometheus can scrape /metrics. Metrics and traces also go to a collector if OTEL_EXPORTER_OTLP_ENDPOINT is set.
    OpenTelemetryBuilder telemetry = builder.Services.AddOpenTelemetry()
        .WithMetrics(metrics => metrics.AddAllocToolsInstrumentation().AddPrometheusExporter())
        .WithTracing(tracing => tracing.AddAllocToolsInstrumentation());
    if (!string.IsNullOrEmpty(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]))
        telemetry.UseOtlpExporter();

    builder.Services.AddOptions<TransferOptions>().BindConfiguration(TransferOptions.Section).ValidateDataAnnotations().ValidateOnStart();
#if (isHost)
    builder.Services.AddSingleton<Inbox>();
    builder.Services.AddHostedService(services => services.GetRequiredService<Inbox>());
    builder.Services.AddHostedService<Worker>();
#else
    string role = builder.Configuration["role"] ?? "worker";
    if (role is not ("peer" or "worker"))
        throw new OptionsValidationException("role", typeof(string), [$"role is '{role}'; it must be 'peer' or 'worker'."]);
    bool isPeer = role == "peer";
    if (isPeer)
    {
        builder.Services.AddSingleton<Inbox>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Inbox>());
        // The peer listens where its workers look for it.
        builder.WebHost.UseUrls(builder.Configuration[$"{TransferOptions.Section}:{nameof(TransferOptions.Peer)}"] ?? "");
    }
    else
    {
        builder.Services.AddHttpClient();
        builder.Services.AddHostedService<Worker>();
    }
#endif

    WebApplication app = builder.Build();
    app.MapHealthChecks("/health");
    app.MapPrometheusScrapingEndpoint("/metrics");
#if (!isHost)
    if (isPeer)
    {
        app.MapGet("/inbox", (Inbox inbox) => inbox.Invitation);
        app.MapPost("/inbox/close", (Inbox inbox, CancellationToken cancellationToken) => inbox.CloseAsync(cancellationToken));
    }
#endif
    app.Run();
}
