using AllocTools;
using AllocTools.Endpoints;
using AllocTools.Hosting;
using AllocTools.Libfabric;
using Microsoft.Extensions.Options;
using OpenTelemetry.Metrics;

try
{
    var builder = Host.CreateApplicationBuilder(args);
    builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools")).RequireSection();
    builder.Services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddAllocToolsInstrumentation());
    builder.Services.AddHostedService<Worker>();
    builder.Build().Run();
}
catch (Exception e) when (e is OptionsValidationException or RmaPoolStartException or InvalidDataException)
{
    // Each message names the invalid value, its path, and what to do.
    Console.Error.WriteLine(e switch
    {
        OptionsValidationException invalid => string.Join('\n', invalid.Failures),
        InvalidDataException file => $"{file.Message} {file.GetBaseException().Message}",
        _ => e.Message,
    });
    Environment.ExitCode = 1;
}

internal sealed class Worker(IRmaMemoryPool pool, IRmaEndpoint endpoint, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stopping)
    {
        // The owner of the memory exposes it, and sends the peer its address and the description of the memory by any means.
        using RmaBuffer target = pool.Rent(1 << 20);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        byte[] address = endpoint.Address.ToArray();
        byte[] exposed = exposure.Remote.ToArray();

        // The peer writes into it; here it is this process itself.
        RmaPeer peer = endpoint.InsertPeer(address);
        using RemoteRegion remote = endpoint.Import(peer, RemoteMemory.Read(exposed));
        using RmaBuffer source = pool.Rent(1 << 20);
        source.Span.Fill(42);
        await endpoint.WriteAsync(source, remote, cancellationToken: stopping); // now the bytes are there

        Console.WriteLine($"{target.Span.Count((byte)42)} bytes arrived; {pool.GetStatistics()}");
        lifetime.StopApplication();
    }
}
