using AllocTools;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using OpenTelemetry.Metrics;
using WorkerService.Application;

// Moves a file through pooled, registered memory. appsettings.json has all its tuning; --help lists the switches.
return await SampleApplication.RunAsync(args, static builder =>
{
    IConfigurationSection pool = builder.Configuration.GetSection("AllocTools");
    TransferOptions transfer = builder.Services.AddTransferOptions(builder.Configuration.GetSection("Transfer"));

    if (LibfabricProvider.IsSupported || pool["Provider:LibraryPath"] is not null)
    {
        // One side is here; the other one is in a process that this one starts, or on another machine.
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(pool)
            .Configure(options => options.Access = transfer.Role == TransferRole.Receiver ? RmaAccess.RemoteWrite : RmaAccess.Local);
        builder.Services.AddTransfer(transfer.Role);
    }
    else
    {
        // No fabric on this machine: both sides in this process, each with a pool of page-locked memory.
        builder.Services.AddRmaMemoryPool<HostProvider>("sender", pool);
        builder.Services.AddRmaMemoryPool<HostProvider>("receiver", pool).Configure(options => options.Access = RmaAccess.RemoteWrite);
        builder.Services.AddTransferInOneProcess("sender", "receiver", LibfabricProvider.NotSupportedReason!);
    }

    builder.Services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddAllocToolsInstrumentation());
});
