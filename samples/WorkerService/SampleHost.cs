using AllocTools;
using AllocTools.Connections;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Mpi;
using AllocTools.Ucx;

namespace WorkerService;

/// <summary>What a process does.</summary>
internal interface ITransferJob
{
    Task RunAsync(CancellationToken cancellationToken);
}

/// <summary>The sample as a generic host: switches over appsettings.json, a pool, its connections, and a job.</summary>
internal static class SampleHost
{
    private const string Sender = "sender", Receiver = "receiver";

    /// <summary>Builds the host, and runs it until the job has ended.</summary>
    public static async Task RunAsync(Dictionary<string, string?> settings, Report report)
    {
        HostApplicationBuilder builder = CommandLine.CreateBuilder(settings);
        IConfigurationSection pool = builder.Configuration.GetSection("AllocTools");
        TransferOptions options = TransferOptions.From(builder.Configuration.GetSection("Transfer"));
        IServiceCollection services = builder.Services.AddSingleton(report).AddSingleton(options);
        string? provider = pool["Provider:Provider"];
        bool hasFabric = provider is "ucx" or "mpi" || LibfabricProvider.IsSupported || pool["Provider:LibraryPath"] is not null;
        // The other process starts while this one does.
        await using TwoProcessJob? two = options.Role == TransferRole.Both && provider != "mpi" && hasFabric ? await TwoProcessJob.StartAsync(settings, options, report) : null;
        if (!hasFabric)
        {
            // Both sides in this process, each with a pool of page-locked memory.
            string reason = LibfabricProvider.NotSupportedReason!;
            if (options.Role != TransferRole.Both)
                throw new TransferException($"{reason} The role {options.Role} needs it.");
            foreach (string name in new[] { Sender, Receiver })
            {
                services.AddRmaMemoryPool<HostProvider>(name, pool).RequireSection();
                services.AddRmaConnections(name, o => Configure(o, options));
            }
            services.AddSingleton<ITransferJob>(p => new OneProcessJob(Create<FileSender>(p, Sender), Create<FileReceiver>(p, Receiver), options, report, reason));
        }
        else
        {
            AddPool(services, pool, options, provider);
            services.AddRmaConnections(o => Configure(o, options)).AddSingleton<FileSender>().AddSingleton<FileReceiver>();
            services.AddSingleton<ITransferJob>(p => options.Role switch
            {
                TransferRole.Receiver => ActivatorUtilities.CreateInstance<ReceiverJob>(p),
                TransferRole.Sender => ActivatorUtilities.CreateInstance<SenderJob>(p),
                _ when two is null => ActivatorUtilities.CreateInstance<RankJob>(p),
                _ => two.With(p.GetRequiredService<FileSender>()),
            });
            if (options.Live)
                services.AddHostedService<LiveView>();
        }
        if (report.IsChild)
            services.AddHostedService<ParentLink>();
        services.AddHostedService<Worker>();
        builder.AddTelemetry("WorkerService");
        using IHost host = builder.Build();
        await host.StartObservedAsync();
        await host.WaitForShutdownAsync();
    }

    private static void AddPool(IServiceCollection services, IConfigurationSection pool, TransferOptions options, string? provider)
    {
        if (provider == "mpi" && options.Role != TransferRole.Both)
            throw new UsageException("With --provider mpi mpirun starts both sides, and their ranks are their roles; leave --role out.");
        if (provider == "ucx")
        {
            services.AddRmaMemoryPool<UcxProvider>(pool).RequireSection()
                // TCP would listen at the addresses of all devices.
                .ConfigureProvider<UcxOptions>(o => o.Devices ??= pool["Provider:Domain"] ?? (pool["Provider:Node"] == "127.0.0.1" ? "lo" : null));
        }
        else if (provider == "mpi")
        {
            services.AddRmaMemoryPool<MpiProvider>(pool).RequireSection();
        }
        else
        {
            services.AddRmaMemoryPool<LibfabricProvider>(pool).RequireSection();
        }
    }

    private static void Configure(RmaConnectionOptions connections, TransferOptions options)
    {
        connections.SetUpTimeout = connections.PeerTimeout = options.Timeout;
        // Shorter than the shortest time-out that the other side may have.
        connections.HeartbeatInterval = TimeSpan.FromMilliseconds(250);
        connections.CloseTimeout = TimeSpan.FromSeconds(1);
    }

    private static T Create<T>(IServiceProvider services, string side) =>
        ActivatorUtilities.CreateInstance<T>(services, services.GetRequiredKeyedService<IRmaMemoryPool>(side), services.GetRequiredKeyedService<RmaConnections>(side));

    /// <summary>Does the job, then stops the host. The pool is open and warm when it starts, and is closed after it has ended.</summary>
    private sealed class Worker(IServiceProvider services, Report report, IHostApplicationLifetime lifetime) : BackgroundService
    {
        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            try
            {
                await services.GetRequiredService<ITransferJob>().RunAsync(stoppingToken);
                report.Succeed();
            }
            catch (Exception e)
            {
                report.Fail(e);
            }
            finally
            {
                lifetime.StopApplication();
            }
        }
    }
}
