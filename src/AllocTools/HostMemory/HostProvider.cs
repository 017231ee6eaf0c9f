using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Providers;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.HostMemory;

/// <summary>
/// Page-locked memory without a fabric: for a laptop, for tests, and for code that runs where no fabric is. Its remote
/// memory works inside the process, with keys, bounds and access checked as a good fabric does.
/// </summary>
public sealed class HostProvider : IRmaProvider
{
    private readonly HostProviderOptions _options;
    private readonly ILogger _logger;

    /// <summary>Makes one.</summary>
    /// <param name="options">Read when a context is opened.</param>
    /// <param name="loggerFactory">Where to log; null: nowhere.</param>
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
