using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Providers;
using AllocTools.Regions;
using AllocTools.Ucx.Interop;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.Ucx;

/// <summary>
/// Registers memory with UCX (Unified Communication X, <c>libucp.so.0</c>) and transfers it through UCX's workers,
/// over TCP, shared memory and RDMA devices. Linux only.
/// </summary>
public sealed class UcxProvider : IRmaProvider
{
    private readonly UcxOptions _options;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;

    /// <summary>Creates the provider.</summary>
    /// <param name="options">The options, which are copied when a context is opened.</param>
    /// <param name="loggerFactory">The factory of the provider's logger; null for no logging.</param>
    /// <param name="timeProvider">The clock for time-outs; null for the system's.</param>
    public UcxProvider(UcxOptions? options = null, ILoggerFactory? loggerFactory = null, TimeProvider? timeProvider = null)
    {
        _options = options ?? new UcxOptions();
        _logger = GuardedLogger.Over((loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<UcxProvider>());
        _time = timeProvider ?? TimeProvider.System;
    }

    /// <inheritdoc/>
    [Experimental(ExperimentalId.Providers)]
    public static RmaProviderDescriptor Descriptor { get; } = new RmaProviderDescriptor<UcxOptions>(
        UcxOptionKeys.All,
        static (options, services) => new UcxProvider(options, services.GetRequiredService<ILoggerFactory>()))
    {
        Validator = new UcxOptionsValidator(),
        ForeignKeys = LibraryProviders.Keys,
    };

    /// <summary>
    /// Whether UCX is installed on this machine. Its library is searched for but not loaded, because a process can
    /// load only one, which the options may choose. If it is too old, opening a context fails.
    /// </summary>
    public static bool IsSupported => UcxLibrary.IsThere;

    /// <summary>Why <see cref="IsSupported"/> is false, and the command that installs UCX; null if it is true.</summary>
    public static string? NotSupportedReason => UcxLibrary.NotSupportedReason;

    /// <summary>
    /// The thread mode that is requested from UCX. A test may request less than calls by any thread at any time, which
    /// not all builds of UCX support.
    /// </summary>
    internal int ThreadMode { get; init; } = UcpMode.UCS_THREAD_MODE_MULTI;

    /// <inheritdoc/>
    public IRmaContext Open()
    {
        // Endpoints of the context read the options later.
        UcxOptions options = _options.Copy();
        UcxOptionsValidator.ThrowIfInvalid(options);
        using RmaSpan span = RmaActivities.StartOpen(UcxContext.ProviderName, _logger);
        try
        {
            // Some settings are read while the library is loaded.
            UcxEnvironment.Apply(options, _logger);
            return UcxContext.Open(UcxLibrary.TryLoad(options.LibraryPath, out string reason) ?? throw new RmaProviderException(reason), options, ThreadMode, _logger, _time);
        }
        catch (Exception e)
        {
            span.Fail(e);
            throw;
        }
    }
}
