using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>Opens and warms a pool before any other hosted service starts, and closes it after the last one has stopped.</summary>
/// <remarks>
/// Order of teardown: no more endpoints, drain, endpoint, pool, context. Where registrations are bound to the endpoint
/// the pool goes before it. Nothing of it throws: what fails is logged, and the rest is closed all the same.
/// </remarks>
internal sealed class RmaMemoryPoolService<TProvider>(IServiceProvider services, PoolKey key, ILogger logger) : IHostedLifecycleService
    where TProvider : class, IRmaProvider
{
    private readonly TimeProvider _time = services.GetService<TimeProvider>() ?? TimeProvider.System;
    private RmaMemoryPool<TProvider>? _pool;
    private TimeSpan _drainTimeout;

    public Task StartingAsync(CancellationToken cancellationToken)
    {
        _pool = key.Resolve<RmaMemoryPool<TProvider>>(services);
        // Kept: options that are reloaded meanwhile may be invalid.
        _drainTimeout = services.GetRequiredService<IOptionsMonitor<RmaMemoryPoolOptions>>().Get(key.Name).DrainTimeout;
        return _pool.WarmUpAsync(cancellationToken);
    }

    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        if (_pool is null)
            return;
        OpenedProvider provider = key.Resolve<OpenedProvider>(services);
        provider.SealEndpoint();
        await DrainAsync(_pool, cancellationToken).ConfigureAwait(false);
        if (provider.Context.Traits.RegistrationsBoundToEndpoint)
            _pool.Dispose();
        await provider.CloseEndpointAsync().ConfigureAwait(false);
        _pool.Dispose();
        key.Resolve<PublishedPool>(services).Dispose();
        await provider.DisposeAsync().ConfigureAwait(false);
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Waits for what is out, until DrainTimeout or the host's own deadline.</summary>
    private async Task DrainAsync(RmaMemoryPool<TProvider> pool, CancellationToken cancellationToken)
    {
        long rented = pool.GetStatistics().RentedBuffers;
        using var deadline = new CancellationTokenSource(_drainTimeout, _time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        ValueTask<bool> drained = pool.DrainAsync(end.Token);
        if (rented != 0)
            HostingLog.Draining(logger, key.DisplayName, _drainTimeout, rented);
        await drained.ConfigureAwait(false);
    }
}
