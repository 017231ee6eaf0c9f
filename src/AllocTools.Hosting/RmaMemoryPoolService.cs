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
    // How often a drain looks whether only the endpoint still holds buffers.
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(20);

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
        bool hasEndpoint = provider.SealEndpoint() is not null;
        await DrainAsync(_pool, hasEndpoint, cancellationToken).ConfigureAwait(false);
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
    /// <remarks>
    /// Buffers that were returned while an operation of the endpoint holds them come free with that operation, or when
    /// the endpoint is closed. Its owner has stopped, so once nothing else is out, that is what comes next.
    /// </remarks>
    private async Task DrainAsync(RmaMemoryPool<TProvider> pool, bool hasEndpoint, CancellationToken cancellationToken)
    {
        long rented = pool.GetStatistics().RentedBuffers;
        using var deadline = new CancellationTokenSource(_drainTimeout, _time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        Task drained = pool.DrainAsync(end.Token).AsTask();
        if (rented != 0)
            HostingLog.Draining(logger, key.DisplayName, _drainTimeout, rented);
        while (hasEndpoint && !drained.IsCompleted && pool.GetStatistics().RentedBuffers != 0)
            await Task.WhenAny(drained, Task.Delay(LookInterval, _time, CancellationToken.None)).ConfigureAwait(false);
        if (hasEndpoint)
            await end.CancelAsync().ConfigureAwait(false);
        await drained.ConfigureAwait(false);
    }
}
