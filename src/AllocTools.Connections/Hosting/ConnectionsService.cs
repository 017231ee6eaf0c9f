using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace AllocTools.Connections.Hosting;

/// <summary>Closes the connections of a host after its services have stopped, and before the pool drains.</summary>
/// <param name="services">The container.</param>
/// <param name="state">Whether the connections were created.</param>
/// <param name="key">The pool's key.</param>
internal sealed class ConnectionsService(IServiceProvider services, ConnectionsService.State state, string key) : IHostedLifecycleService
{
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        if (state.IsOpen)
            await services.GetRequiredKeyedService<RmaConnections>(key).DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Whether the connections of a pool were created, which happens when a service first asks for them.</summary>
    public sealed class State
    {
        public bool IsOpen { get; set; }
    }
}
