using AllocTools.MultiRail;
using Microsoft.Extensions.Hosting;

namespace AllocTools.Hosting;

/// <summary>Closes a multi-rail after the services of the host have stopped, and before the pools of its rails drain: it holds memory of each.</summary>
internal sealed class MultiRailService(RmaMultiRailMetrics metrics) : IHostedLifecycleService
{
    private RmaMultiRail? _rails;

    /// <summary>Takes the multi-rail, which is made when it is first asked for.</summary>
    public void Opened(RmaMultiRail rails)
    {
        metrics.Add(rails);
        Volatile.Write(ref _rails, rails);
    }

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _rails) is not { } rails)
            return;
        await rails.DisposeAsync().ConfigureAwait(false);
        metrics.Remove(rails);
    }
}
