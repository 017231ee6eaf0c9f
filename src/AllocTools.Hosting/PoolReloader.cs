using AllocTools.Hosting.Configuration;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;

namespace AllocTools.Hosting;

/// <summary>Brings changes of the configuration into a pool that is in use.</summary>
/// <remarks>
/// On a change a candidate is built and validated apart from the options in force. A good one gives the pool those
/// options that may change in use, and <see cref="IOptionsMonitor{TOptions}.Get"/> shows what is in force since. Of the
/// others it is logged that they need a restart. A bad one is logged, all failures at once, and changes nothing.
/// </remarks>
internal sealed class PoolReloader : IDisposable
{
    private readonly PoolRegistration _registration;
    private readonly IOptionsFactory<RmaMemoryPoolOptions> _factory;
    private readonly IOptionsMonitorCache<RmaMemoryPoolOptions> _cache;
    private readonly Action<RmaMemoryPoolOptions> _reconfigure;
    private readonly Func<RmaMemoryPoolOptions> _inForce;
    private readonly ILogger _logger;
    private readonly RestartValues? _atStart;
    private readonly List<IDisposable> _subscriptions = [];
    private string _restartNeeded = "";
    private volatile bool _disposed;
    private int _requests;

    /// <param name="services">The container.</param>
    /// <param name="registration">The pool's.</param>
    /// <param name="reconfigure">Gives options to the pool.</param>
    /// <param name="inForce">The pool's options.</param>
    /// <param name="logger">Where to log.</param>
    public PoolReloader(
        IServiceProvider services,
        PoolRegistration registration,
        Action<RmaMemoryPoolOptions> reconfigure,
        Func<RmaMemoryPoolOptions> inForce,
        ILogger logger)
    {
        _registration = registration;
        _factory = services.GetRequiredService<IOptionsFactory<RmaMemoryPoolOptions>>();
        _cache = services.GetRequiredService<IOptionsMonitorCache<RmaMemoryPoolOptions>>();
        _reconfigure = reconfigure;
        _inForce = inForce;
        _logger = logger;
        if (registration.Section is { } section)
        {
            _atStart = section.Exists() ? new RestartValues(section) : null;
            _subscriptions.Add(ChangeToken.OnChange(section.GetReloadToken, Reload));
        }
        // What the application bound to the pool's options itself.
        foreach (IOptionsChangeTokenSource<RmaMemoryPoolOptions> source in services.GetServices<IOptionsChangeTokenSource<RmaMemoryPoolOptions>>())
        {
            if ((source.Name ?? Options.DefaultName) == registration.Key.Name)
                _subscriptions.Add(ChangeToken.OnChange(source.GetChangeToken, Reload));
        }
    }

    public void Dispose()
    {
        _disposed = true;
        _subscriptions.ForEach(s => s.Dispose());
    }

    /// <summary>One at a time. Who comes while another one is at it lets that one go round again.</summary>
    private void Reload()
    {
        if (Interlocked.Increment(ref _requests) != 1)
            return;
        int seen;
        do
        {
            seen = Volatile.Read(ref _requests);
            if (!_disposed)
                TakeOver();
        }
        while (Interlocked.Add(ref _requests, -seen) != 0);
    }

    private void TakeOver()
    {
        string pool = _registration.Key.DisplayName;
        // While a file is being replaced, or can't be parsed, its provider has nothing. That is not a wish for the defaults.
        if (_atStart is not null && _registration.Section is { } section && !section.Exists())
        {
            HostingLog.SectionGone(_logger, pool, section.Path);
            return;
        }
        RmaMemoryPoolOptions before = _inForce();
        try
        {
            RmaMemoryPoolOptions candidate = _factory.Create(_registration.Key.Name);
            Reconfigure(candidate);
        }
        catch (OptionsValidationException e)
        {
            HostingLog.ReloadRejected(_logger, pool, string.Join(' ', e.Failures), null);
            return;
        }
        catch (ObjectDisposedException)
        {
            // The pool is closed.
            return;
        }
        catch (Exception e)
        {
            // A delegate of the application's that sets options.
            HostingLog.ReloadRejected(_logger, pool, e.Message, e);
            return;
        }
        RmaMemoryPoolOptions after = _inForce();
        _cache.TryRemove(_registration.Key.Name);
        _cache.TryAdd(_registration.Key.Name, after);
        string changes = string.Join(", ", LiveOptions.Changes(before, after));
        if (changes.Length != 0)
            HostingLog.Reloaded(_logger, pool, changes);
        SayWhatNeedsRestart(pool);
    }

    private void Reconfigure(RmaMemoryPoolOptions candidate)
    {
        try
        {
            _reconfigure(candidate);
        }
        catch (OptionsValidationException e)
        {
            throw _registration.WithOrigin(e);
        }
    }

    private void SayWhatNeedsRestart(string pool)
    {
        if (_atStart is null)
            return;
        string changes = string.Join(", ", _atStart.Changes(new RestartValues(_registration.Section!)));
        if (changes.Length != 0 && changes != _restartNeeded)
            HostingLog.RestartNeeded(_logger, pool, changes);
        _restartNeeded = changes;
    }
}
