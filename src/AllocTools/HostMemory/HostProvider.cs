using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Providers;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.HostMemory;

/// <summary>
/// Provides page-locked memory without a fabric, for laptops, tests, and other systems that have none. Its remote
/// memory works inside the process, and keys, bounds and access are checked as by a fabric.
/// </summary>
public sealed class HostProvider : IRmaProvider
{
    private readonly HostProviderOptions _options;
    private readonly ILogger _logger;

    /// <summary>Creates the provider.</summary>
    /// <param name="options">The options, which are read when a context is opened.</param>
    /// <param name="loggerFactory">The factory of the provider's logger; null for no logging.</param>
    public HostProvider(HostProviderOptions? options = null, ILoggerFactory? loggerFactory = null)
    {
        _options = options ?? new HostProviderOptions();
        _logger = GuardedLogger.Over((loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<HostProvider>());
    }

    /// <inheritdoc/>
    [Experimental(ExperimentalId.Providers)]
    public static RmaProviderDescriptor Descriptor { get; } = new RmaProviderDescriptor<HostProviderOptions>(
        HostProviderOptionKeys.All,
        static (options, services) => new HostProvider(options, services.GetRequiredService<ILoggerFactory>()))
    {
        Validator = new HostProviderOptionsValidator(),
        ForeignKeys = LibraryProviders.Keys,
    };

    /// <inheritdoc/>
    public IRmaContext Open()
    {
        HostProviderOptions options = _options.Copy();
        HostProviderOptionsValidator.ThrowIfInvalid(options);
        using RmaSpan span = RmaActivities.StartOpen(HostContext.ProviderName, _logger);
        return new HostContext(options, _logger);
    }
}
