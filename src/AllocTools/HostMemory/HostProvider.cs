using AllocTools.Diagnostics;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace AllocTools.HostMemory;

/// <summary>
/// Page-locked memory without a fabric: for a laptop, for tests, and for code that runs where no fabric is. Its remote
/// memory works inside the process, with keys, bounds and access checked as a good fabric does.
/// </summary>
public sealed class HostProvider : IRmaProvider
{
    private readonly HostProviderOptions _options;
    private readonly ILogger _logger;

    /// <summary>Made by hand.</summary>
    /// <param name="options">Read when a context is opened.</param>
    /// <param name="loggerFactory">Where to log; null: nowhere.</param>
    public HostProvider(HostProviderOptions? options = null, ILoggerFactory? loggerFactory = null)
    {
        _options = options ?? new HostProviderOptions();
        _logger = GuardedLogger.Over((loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<HostProvider>());
    }

    /// <summary>Made by the container, with the options of the pool's name.</summary>
    /// <param name="activation">Which pool it is for.</param>
    /// <param name="options">All options.</param>
    /// <param name="loggerFactory">Where to log.</param>
    [ActivatorUtilitiesConstructor]
    public HostProvider(RmaProviderActivation activation, IOptionsMonitor<HostProviderOptions> options, ILoggerFactory loggerFactory)
        : this(
            (options ?? throw new ArgumentNullException(nameof(options))).Get((activation ?? throw new ArgumentNullException(nameof(activation))).PoolName),
            loggerFactory)
    {
    }

    /// <inheritdoc/>
    public IRmaContext Open()
    {
        HostProviderOptionsValidator.ThrowIfInvalid(_options);
        using RmaSpan span = RmaActivities.StartOpen(HostContext.ProviderName, _logger);
        return new HostContext(_options.Locking, _logger);
    }
}
