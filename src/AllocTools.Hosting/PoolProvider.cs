using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>A pool's reference to its provider, and the endpoint, if the application requested one.</summary>
/// <remarks>
/// Pool and endpoint have their own references to the context, so it is closed with the last of them, whatever the
/// order in which a container disposes them.
/// </remarks>
internal sealed class PoolProvider : IAsyncDisposable, IDisposable
{
    private readonly Lock _gate = new();
    private readonly OpenedProvider _opened;
    private readonly string _poolName;
    private readonly RmaMetrics _metrics;
    private readonly ILogger _logger;
    private IRmaEndpoint? _endpoint;
    private bool _refusesEndpoints;
    private int _disposed;

    public PoolProvider(OpenedProvider opened, string poolName, RmaMetrics metrics, ILogger logger)
    {
        _metrics = metrics;
        _opened = opened;
        _poolName = poolName;
        _logger = logger;
        opened.Acquire();
    }

    public IRmaContext Context => _opened.Context;

    /// <summary>Opens the application's endpoint.</summary>
    /// <exception cref="RmaProviderException">It can't be opened.</exception>
    /// <exception cref="ObjectDisposedException">The pool is being closed.</exception>
    public IRmaEndpoint OpenEndpoint()
    {
        if (Volatile.Read(ref _refusesEndpoints))
            throw Refused();
        IRmaEndpoint endpoint = Context.OpenEndpoint();
        lock (_gate)
        {
            if (!_refusesEndpoints)
            {
                _metrics.Add(endpoint, _poolName);
                return _endpoint = endpoint;
            }
        }
        endpoint.Dispose();
        throw Refused();
    }

    /// <summary>Prevents further endpoints from being opened.</summary>
    /// <returns>The endpoint that was opened, or null.</returns>
    public IRmaEndpoint? SealEndpoint()
    {
        lock (_gate)
        {
            _refusesEndpoints = true;
            return _endpoint;
        }
    }

    /// <summary>Closes the endpoint that was opened. A failure is logged, so that everything else is closed nevertheless.</summary>
    public async Task CloseEndpointAsync()
    {
        if (SealEndpoint() is not { } endpoint)
            return;
        try
        {
            await endpoint.DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            HostingLog.EndpointCloseFailed(_logger, _poolName, e);
        }
        // The metrics then include the result of closing the endpoint.
        _metrics.Remove(endpoint);
    }

    /// <summary>Closes the endpoint, then releases the provider.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await CloseEndpointAsync().ConfigureAwait(false);
        await _opened.ReleaseAsync().ConfigureAwait(false);
    }

    /// <summary>
    /// Like <see cref="DisposeAsync"/>, but blocks while a provider is disposed that only supports asynchronous
    /// disposal.
    /// </summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    private ObjectDisposedException Refused() =>
        new(nameof(IRmaEndpoint), $"The pool '{_poolName}' is being closed; no more endpoints can be opened.");
}
