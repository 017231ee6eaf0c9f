using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>A provider that was opened for one pool, and the endpoint that the application asked for, if it did.</summary>
/// <remarks>
/// Pool and endpoint keep references of their own to the context, so it is closed with the last of them, in whatever
/// order a container disposes.
/// </remarks>
internal sealed class OpenedProvider : IAsyncDisposable, IDisposable
{
    private readonly Lock _gate = new();
    private readonly IRmaProvider _provider;
    private readonly string _poolName;
    private readonly ILogger _logger;
    private IRmaEndpoint? _endpoint;
    private bool _refusesEndpoints;
    private int _disposed;

    private OpenedProvider(IRmaProvider provider, IRmaContext context, string poolName, ILogger logger)
    {
        _provider = provider;
        Context = context;
        _poolName = poolName;
        _logger = logger;
    }

    public IRmaContext Context { get; }

    /// <summary>Takes the provider over, also where it can't be opened.</summary>
    /// <exception cref="RmaProviderException">It can't be opened.</exception>
    public static OpenedProvider Open(IRmaProvider provider, string poolName, ILogger logger)
    {
        try
        {
            return new OpenedProvider(provider, provider.Open(), poolName, logger);
        }
        catch
        {
            (provider as IDisposable)?.Dispose();
            throw;
        }
    }

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
                return _endpoint = endpoint;
        }
        endpoint.Dispose();
        throw Refused();
    }

    /// <summary>Lets nobody open an endpoint any more.</summary>
    /// <returns>The one that was opened, or null.</returns>
    public IRmaEndpoint? SealEndpoint()
    {
        lock (_gate)
        {
            _refusesEndpoints = true;
            return _endpoint;
        }
    }

    /// <summary>Closes the endpoint that was opened. A failure is logged, so that what follows is closed all the same.</summary>
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
    }

    /// <summary>Releases the context, then disposes the provider.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await CloseEndpointAsync().ConfigureAwait(false);
        try
        {
            Context.Dispose();
            if (_provider is IAsyncDisposable asyncDisposable)
                await asyncDisposable.DisposeAsync().ConfigureAwait(false);
            else
                (_provider as IDisposable)?.Dispose();
        }
        catch (Exception e)
        {
            HostingLog.ProviderCloseFailed(_logger, _poolName, e);
        }
    }

    /// <summary>As <see cref="DisposeAsync"/>; waits for a provider that can only be disposed asynchronously.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    private ObjectDisposedException Refused() =>
        new(nameof(IRmaEndpoint), $"The pool '{_poolName}' is being closed: no endpoint can be opened any more.");
}
