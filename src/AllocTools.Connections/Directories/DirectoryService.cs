using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace AllocTools.Connections.Directories;

/// <summary>Renews the entries of the process, and removes them before the host's services stop.</summary>
/// <param name="services">The container. The directory is created only at the start, when all options have been validated.</param>
internal sealed class DirectoryService(IServiceProvider services) : BackgroundService, IHostedLifecycleService
{
    private LeasedDirectory? _directory;

    public Task StartingAsync(CancellationToken cancellationToken)
    {
        _directory = services.GetRequiredService<LeasedDirectory>();
        return Task.CompletedTask;
    }

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (_directory is not null)
                await _directory.RemoveAllAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The host has no time left, so the entries stay until their leases expire.
        }
    }

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await Task.WhenAll(_directory!.CheckAsync(stoppingToken), _directory.RenewAsync(stoppingToken)).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The host stops.
        }
    }
}
