using AllocTools;
using WorkerService.Jobs;
using WorkerService.Observing;
using WorkerService.Processes;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Application;

/// <summary>Registers the sample's own services.</summary>
internal static class TransferServices
{
    /// <summary>Adds the options of the sample.</summary>
    /// <exception cref="UsageException">One can't be used.</exception>
    public static TransferOptions AddTransferOptions(this IServiceCollection services, IConfigurationSection section)
    {
        TransferOptions options = TransferOptions.From(section);
        services.AddSingleton(options);
        return options;
    }

    /// <summary>Adds what the role does, on the unnamed pool.</summary>
    public static void AddTransfer(this IServiceCollection services, TransferOptions options)
    {
        services.AddSingleton<FileSender>();
        services.AddSingleton<FileReceiver>();
        switch (options.Role)
        {
            case TransferRole.Receiver:
                services.AddSingleton<ITransferJob, ReceiverJob>();
                break;
            case TransferRole.Sender:
                services.AddSingleton<ITransferJob, SenderJob>();
                break;
            case TransferRole.Load:
                services.AddSingleton<ITransferJob, LoadJob>();
                break;
            case TransferRole.Drill:
                services.AddSingleton<ITransferJob>(provider => new DrillJob(
                    provider.GetRequiredService<IRmaMemoryPool>(),
                    provider.GetRequiredKeyedService<IRmaMemoryPool>(DrillJob.LockedPool),
                    provider.GetRequiredService<IRmaEndpoint>(),
                    (IConfigurationRoot)provider.GetRequiredService<IConfiguration>()));
                break;
            default:
                services.AddSingleton<ITransferJob, TwoProcessJob>();
                break;
        }
        if (options.Live)
            services.AddHostedService(provider => new LiveView([provider.GetRequiredService<IRmaMemoryPool>()], TimeProvider.System));
        services.AddHostedService<ParentLink>();
        services.AddHostedService<TransferWorker>();
    }

    /// <summary>Adds both roles, of which the rank of the process chooses one, on the unnamed pool.</summary>
    public static void AddTransferBetweenRanks(this IServiceCollection services, TransferOptions options)
    {
        services.AddSingleton<FileSender>();
        services.AddSingleton<FileReceiver>();
        services.AddSingleton<ITransferJob, RankJob>();
        if (options.Live)
            services.AddHostedService(provider => new LiveView([provider.GetRequiredService<IRmaMemoryPool>()], TimeProvider.System));
        services.AddHostedService<TransferWorker>();
    }

    /// <summary>Adds both roles, on two named pools.</summary>
    /// <param name="services">Where to.</param>
    /// <param name="sender">The sender's pool.</param>
    /// <param name="receiver">The receiver's pool.</param>
    /// <param name="reason">Why it is one process.</param>
    public static void AddTransferInOneProcess(this IServiceCollection services, string sender, string receiver, string reason)
    {
        services.AddSingleton<ITransferJob>(provider => new OneProcessJob(
            new FileSender(provider.GetRequiredKeyedService<IRmaMemoryPool>(sender), provider.GetRequiredKeyedService<IRmaEndpoint>(sender), provider.GetRequiredService<TransferOptions>()),
            new FileReceiver(provider.GetRequiredKeyedService<IRmaMemoryPool>(receiver), provider.GetRequiredKeyedService<IRmaEndpoint>(receiver), provider.GetRequiredService<TransferOptions>()),
            provider.GetRequiredService<TransferOptions>(),
            provider.GetRequiredService<ITransferReport>(),
            reason));
        services.AddHostedService<TransferWorker>();
    }
}
