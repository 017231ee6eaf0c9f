using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>An open provider, for one pool or for several that share it. It is closed with the last of them.</summary>
internal sealed class OpenedProvider
{
    private readonly IRmaProvider _provider;
    private readonly string _poolName;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();
    private int _users;
    private bool _closed;

    private OpenedProvider(IRmaProvider provider, IRmaContext context, string poolName, ILogger logger)
    {
        _provider = provider;
        Context = context;
        _poolName = poolName;
        _logger = logger;
    }

    public IRmaContext Context { get; }

    /// <summary>Takes ownership of the provider, even if it can't be opened.</summary>
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

    /// <summary>Adds a pool that uses the provider.</summary>
    /// <exception cref="ObjectDisposedException">The last pool has closed it.</exception>
    public void Acquire()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            _users++;
        }
    }

    /// <summary>Removes a pool. The last one releases the context and then disposes the provider; a failure is logged.</summary>
    public async ValueTask ReleaseAsync()
    {
        lock (_gate)
        {
            if (--_users != 0)
                return;
            _closed = true;
        }
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
}
