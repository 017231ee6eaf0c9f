using AllocTools;
using WorkerService.Jobs;
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
    public static void AddTransfer(this IServiceCollection services, TransferRole role)
    {
        services.AddSingleton<FileSender>();
        services.AddSingleton<FileReceiver>();
        if (role == TransferRole.Receiver)
            services.AddSingleton<ITransferJob, ReceiverJob>();
        else if (role == TransferRole.Sender)
            services.AddSingleton<ITransferJob, SenderJob>();
        else
            services.AddSingleton<ITransferJob, TwoProcessJob>();
        services.AddHostedService<ParentLink>();
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
