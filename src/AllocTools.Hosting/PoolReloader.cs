using AllocTools.Diagnostics;
using AllocTools.Hosting.Configuration;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;

namespace AllocTools.Hosting;

/// <summary>Applies changes of the configuration to a pool that is in use.</summary>
/// <remarks>
/// On a change, a candidate is built and validated separately from the options in force. If it is valid, the pool
/// applies those options that may change in use, and <see cref="IOptionsMonitor{TOptions}.Get"/> shows the new options
/// in force. For all other changed options, a message is logged that they need a restart. If the candidate is invalid,
/// all failures are logged and nothing changes. The same message is not logged again until the configuration changes.
/// While a file can't be parsed (<see cref="ConfigurationFiles"/>), no values are applied, because those of that file
/// are missing.
/// </remarks>
internal sealed class PoolReloader : IDisposable
{
    private readonly PoolRegistration _registration;
    private readonly IOptionsFactory<RmaMemoryPoolOptions> _factory;
    private readonly IServiceProvider _services;
    private readonly Action<RmaMemoryPoolOptions> _reconfigure;
    private readonly Func<RmaMemoryPoolOptions> _inForce;
    private readonly ILogger _logger;
    private readonly ConfigurationFiles _files;
    private readonly Action<bool, bool> _count;
    private readonly SectionValues? _atStart;
    private readonly List<IDisposable> _subscriptions = [];
    private string _restartNeeded = "";
    private string _rejected = "";
    private bool _isBroken;
    private bool _isGone;
    private volatile bool _disposed;
    private int _requests;

    /// <summary>Starts watching, and applies changes that were made since the options were bound.</summary>
    /// <param name="services">The container.</param>
    /// <param name="registration">The pool's registration.</param>
    /// <param name="reconfigure">Applies options to the pool.</param>
    /// <param name="inForce">Returns the pool's options in force.</param>
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
        _services = services;
        _files = services.GetRequiredService<ConfigurationFiles>();
        _reconfigure = reconfigure;
        _inForce = inForce;
        _logger = logger;
        RmaMetrics metrics = services.GetRequiredService<RmaMetrics>();
        IRmaMemoryPool pool = registration.Key.Resolve<IRmaMemoryPool>(services);
        _count = (accepted, changed) => metrics.CountReload(pool, accepted, changed);
        if (registration.Section is { } section)
        {
            _atStart = registration.Key.Resolve<SectionAtStart>(services).Values;
            _subscriptions.Add(_files.Watch(Reload));
            if (!_files.Has(section))
                HostingLog.FilesNotWatched(logger, registration.Key.DisplayName, section.Path);
            _subscriptions.Add(ChangeToken.OnChange(section.GetReloadToken, Reload));
        }
        // These are sources of changes for bindings that the application itself added to the pool's options.
        foreach (IOptionsChangeTokenSource<RmaMemoryPoolOptions> source in services.GetServices<IOptionsChangeTokenSource<RmaMemoryPoolOptions>>())
        {
            if (registration.Key.OptionsNames.Contains(source.Name ?? Options.DefaultName))
                _subscriptions.Add(ChangeToken.OnChange(source.GetChangeToken, Reload));
        }
        if (_atStart is not null && _atStart.Differs(new SectionValues(registration)))
            Reload();
    }

    public void Dispose()
    {
        _disposed = true;
        _subscriptions.ForEach(s => s.Dispose());
    }

    /// <summary>Only one reload runs at a time: a change during a reload makes that one start over.</summary>
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
        bool wasBroken = _isBroken;
        _isBroken = _files.IsAnyBroken;
        if (_isBroken)
        {
            _count(false, !wasBroken);
            return;
        }
        string pool = _registration.Key.DisplayName;
        // While a file is being replaced, its provider has no values. That does not mean that the application wants the defaults.
        if (_atStart is { IsThere: true } && _registration.Section is { } section && !section.Exists())
        {
            if (!_isGone)
                HostingLog.SectionGone(_logger, pool, section.Path);
            _isGone = true;
            return;
        }
        _isGone = false;
        RmaMemoryPoolOptions before = _inForce();
        try
        {
            RmaMemoryPoolOptions candidate = _factory.Create(_registration.Key.Name);
            Reconfigure(candidate);
        }
        catch (OptionsValidationException e)
        {
            Reject(string.Join(' ', e.Failures), null);
            return;
        }
        catch (ObjectDisposedException)
        {
            // The pool is closed.
            return;
        }
        catch (Exception e)
        {
            // The exception comes from a delegate of the application that sets options.
            Reject(e.Message, e);
            return;
        }
        _rejected = "";
        RmaMemoryPoolOptions after = _inForce();
        PoolOptions.Show(_services, _registration.Key, after);
        string changes = string.Join(", ", LiveOptions.Changes(before, after));
        _count(true, changes.Length != 0);
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

    private void Reject(string failures, Exception? cause)
    {
        _count(false, failures != _rejected);
        if (failures != _rejected)
            HostingLog.ReloadRejected(_logger, _registration.Key.DisplayName, failures, cause);
        _rejected = failures;
    }

    private void SayWhatNeedsRestart(string pool)
    {
        if (_atStart is null)
            return;
        string changes = string.Join(", ", _atStart.RestartChanges(new SectionValues(_registration)));
        if (changes.Length != 0 && changes != _restartNeeded)
            HostingLog.RestartNeeded(_logger, pool, changes);
        _restartNeeded = changes;
    }
}
