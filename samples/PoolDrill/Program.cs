using AllocTools.HostMemory;
using AllocTools.Libfabric;
using Microsoft.Extensions.Options;
using PoolDrill;

// Gives dashboards and alerts something to show: it keeps a pool busy, or executes commands from the standard input.
// --help lists the switches.
Switch[] switches =
[
    new("--drill", "PoolDrill:Drill", "", "run commands from the standard input, one per line, instead of a steady load"),
    new("--live", "PoolDrill:Live", "", "show the pool on the terminal, updated each second"),
    new("--prometheus", "Telemetry:Prometheus", "URL", "where Prometheus may scrape, such as http://127.0.0.1:9464/metrics"),
    new("--provider", "AllocTools:Provider:Provider", "NAME", "libfabric's provider: tcp;ofi_rxm (default), shm, sockets, ..."),
    new("--node", "AllocTools:Provider:Node", "ADDRESS", "this machine's address on the fabric (default: 127.0.0.1)"),
    new("--verbose", "Logging:LogLevel:Default", "", "log more", Set: "Debug"),
];
try
{
    var line = new CommandLine("Keeps a pool of registered memory busy, for dashboards and alerts.", switches, "AllocTools", "Locked", "PoolDrill", "Telemetry", "Logging");
    if (line.Parse(args) is not { } settings)
        return 0;
    HostApplicationBuilder builder = CommandLine.CreateBuilder(settings);
    // This source is for the changes of a drill: it is the only one that keeps them when the others are reloaded.
    builder.Configuration.AddInMemoryCollection();
    builder.Services.AddRmaMemoryPool<LibfabricProvider>(builder.Configuration.GetSection("AllocTools")).RequireSection();
    builder.Services.AddRmaMemoryPool<HostProvider>(Drill.LockedPool, builder.Configuration.GetSection("Locked")).RequireSection();
    builder.Services.AddSingleton<Drill>().AddSingleton<Load>();
    if (builder.Configuration.GetValue<bool>("PoolDrill:Live"))
        builder.Services.AddHostedService<LiveView>();
    builder.AddTelemetry("PoolDrill");
    using IHost host = builder.Build();
    await host.StartObservedAsync();
    CancellationToken stopping = host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;
    try
    {
        if (builder.Configuration.GetValue<bool>("PoolDrill:Drill"))
            await host.Services.GetRequiredService<Drill>().RunAsync(stopping);
        else
            await host.Services.GetRequiredService<Load>().RunAsync(stopping);
    }
    catch (OperationCanceledException) when (stopping.IsCancellationRequested)
    {
        // The program runs until it is stopped, so this is its normal end.
    }
    await host.StopAsync(CancellationToken.None);
    return 0;
}
catch (Exception e) when (e is UsageException or OptionsValidationException or RmaException or InvalidDataException or IOException)
{
    Console.Error.WriteLine($"error: {(e is OptionsValidationException invalid ? string.Join(' ', invalid.Failures) : e.Message)}");
    return e is UsageException or OptionsValidationException or InvalidDataException ? 2 : 1;
}
