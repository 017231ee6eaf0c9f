using AllocTools.Regions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>Opens and warms a pool before any other hosted service starts, and closes it after the last one has stopped.</summary>
/// <remarks>
/// Order of teardown: multi-rails with memory of the pool, no more endpoints, drain, endpoint, pool, context. If
/// registrations are bound to the endpoint, the pool is closed before it. Teardown never throws: a failure is logged,
/// and everything else is closed nevertheless.
/// </remarks>
internal sealed class RmaMemoryPoolService<TProvider>(IServiceProvider services, PoolRegistration registration, ILogger logger)
    : IHostedLifecycleService, IDisposable
    where TProvider : class, IRmaProvider
{
    private readonly PoolKey _key = registration.Key;
    private readonly CancellationTokenSource _stopping = new();
    private RmaMemoryPool<TProvider>? _pool;
    private Task _warmUp = Task.CompletedTask;
    private PoolReloader? _reloader;

    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        if (registration.Section is { } section && !section.Exists())
            HostingLog.SectionMissing(logger, _key.DisplayName, section.Path);
        _pool = _key.Resolve<RmaMemoryPool<TProvider>>(services);
        // This comes before the warm-up, which may take long, because the options may change meanwhile.
        _reloader = new PoolReloader(services, registration, _pool.Reconfigure, () => _pool.Options, logger);
        PoolWarmUpState state = _key.Resolve<PoolWarmUpState>(services);
        try
        {
            if (_pool.Options.WarmUp == RmaWarmUp.Background)
            {
                _warmUp = WarmUpInBackgroundAsync(_pool, state);
            }
            else
            {
                await _pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);
                state.Done();
            }
        }
        catch (OperationCanceledException) when (services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.IsCancellationRequested)
        {
            // Stopping the host before its start is complete is not a failure; the stop then closes the pool.
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new RmaPoolStartException(registration, "can't start", e, logger);
        }
    }

    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        if (_pool is null)
            return;
        _reloader?.Dispose();
        await _warmUp.ConfigureAwait(false);
        if (services.GetService<OpenMultiRails>() is { } multiRails)
            await multiRails.CloseAsync(_pool).ConfigureAwait(false);
        PoolProvider provider = _key.Resolve<PoolProvider>(services);
        provider.SealEndpoint();
        await DrainAsync(_pool, cancellationToken).ConfigureAwait(false);
        if (provider.Context.Traits.RegistrationsBoundToEndpoint)
            _pool.Dispose();
        await provider.CloseEndpointAsync().ConfigureAwait(false);
        _pool.Dispose();
        _key.Resolve<PublishedPool>(services).Dispose();
        await provider.DisposeAsync().ConfigureAwait(false);
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Ends a warm-up in the background, because the blocks that it would still register are not needed.</summary>
    public Task StoppingAsync(CancellationToken cancellationToken) => _stopping.CancelAsync();

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>This handles a host that is disposed without having been stopped.</summary>
    public void Dispose()
    {
        _reloader?.Dispose();
        _stopping.Cancel();
    }

    private async Task WarmUpInBackgroundAsync(RmaMemoryPool<TProvider> pool, PoolWarmUpState state)
    {
        try
        {
            await pool.WarmUpAsync(_stopping.Token).ConfigureAwait(false);
            state.Done();
        }
        catch (Exception) when (_stopping.IsCancellationRequested)
        {
            // The host is stopping; the memory registered so far is released with the pool.
        }
        catch (Exception e)
        {
            // All exceptions are caught, because only the stop awaits this task, and rents report their own failures.
            state.Failed(e);
            HostingLog.WarmUpFailed(logger, _key.DisplayName, registration.Place, e);
        }
    }

    /// <summary>Waits for rented buffers until DrainTimeout or the host's own deadline.</summary>
    private static async Task DrainAsync(RmaMemoryPool<TProvider> pool, CancellationToken cancellationToken)
    {
        try
        {
            await pool.DrainAsync(pool.Options.DrainTimeout, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The host's own deadline has passed; buffers that are still rented stay mapped.
        }
    }
}
