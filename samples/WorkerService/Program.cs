using AllocTools;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Ucx;
using WorkerService.Application;
using WorkerService.Jobs;
using WorkerService.Observing;

// Moves a file through pooled, registered memory. appsettings.json has all its tuning; --help lists the switches.
return await SampleApplication.RunAsync(args, static builder =>
{
    IConfigurationSection pool = builder.Configuration.GetSection("AllocTools");
    TransferOptions transfer = builder.Services.AddTransferOptions(builder.Configuration.GetSection("Transfer"));

    if (pool["Provider:Provider"] == "ucx")
    {
        if (transfer.Role == TransferRole.Drill)
            throw new UsageException("The role drill runs on libfabric; leave --provider ucx out.");
        builder.Services.AddRmaMemoryPool<UcxProvider>(pool)
            .RequireSection()
            .Configure(options => options.Access = AccessOf(transfer))
            // TCP would listen at the addresses of all devices.
            .ConfigureProvider<UcxOptions>(options => options.Devices ??= pool["Provider:Domain"] ?? (pool["Provider:Node"] == "127.0.0.1" ? "lo" : null));
        builder.Services.AddTransfer(transfer);
    }
    else if (pool["Provider:Provider"] == "mpi")
    {
        if (transfer.Role != TransferRole.Both)
            throw new UsageException("With --provider mpi mpirun starts both sides, and their ranks are their roles; leave --role out.");
        builder.Services.AddRmaMemoryPool<MpiProvider>(pool)
            .RequireSection()
            .Configure(options => options.Access = RmaAccess.RemoteWrite);
        builder.Services.AddTransferBetweenRanks(transfer);
    }
    else if (LibfabricProvider.IsSupported || pool["Provider:LibraryPath"] is not null)
    {
        // One side is here; the other one is in a process that this one starts, or on another machine.
        builder.Services.AddRmaMemoryPool<LibfabricProvider>(pool)
            .RequireSection()
            .Configure(options => options.Access = AccessOf(transfer));
        if (transfer.Role == TransferRole.Drill)
            builder.Services.AddRmaMemoryPool<HostProvider>(DrillJob.LockedPool, builder.Configuration.GetSection("Locked")).RequireSection();
        builder.Services.AddTransfer(transfer);
    }
    else
    {
        // No fabric on this machine: both sides in this process, each with a pool of page-locked memory.
        builder.Services.AddRmaMemoryPool<HostProvider>("sender", pool).RequireSection();
        builder.Services.AddRmaMemoryPool<HostProvider>("receiver", pool).RequireSection().Configure(options => options.Access = RmaAccess.RemoteWrite);
        builder.Services.AddTransferInOneProcess("sender", "receiver", LibfabricProvider.NotSupportedReason!);
    }

    builder.AddTelemetry();
});

static RmaAccess AccessOf(TransferOptions transfer) => transfer.Role is TransferRole.Both or TransferRole.Sender ? RmaAccess.Local : RmaAccess.RemoteWrite;
