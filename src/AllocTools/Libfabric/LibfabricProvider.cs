using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Libfabric.Interop;
using AllocTools.Providers;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.Libfabric;

/// <summary>Registers memory with libfabric (fi_mr(3)) and transfers it through a <see cref="LibfabricEndpoint"/>.</summary>
public sealed class LibfabricProvider : IRmaProvider
{
    private readonly LibfabricOptions _options;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;

    /// <summary>Creates the provider.</summary>
    /// <param name="options">The options, which are copied when a context is opened.</param>
    /// <param name="loggerFactory">The factory of the provider's logger; null for no logging.</param>
    /// <param name="timeProvider">The clock for time-outs; null for the system's.</param>
    public LibfabricProvider(LibfabricOptions? options = null, ILoggerFactory? loggerFactory = null, TimeProvider? timeProvider = null)
    {
        _options = options ?? new LibfabricOptions();
        _logger = GuardedLogger.Over((loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<LibfabricProvider>());
        _time = timeProvider ?? TimeProvider.System;
    }

    /// <inheritdoc/>
    [Experimental(ExperimentalId.Providers)]
    public static RmaProviderDescriptor Descriptor { get; } = new RmaProviderDescriptor<LibfabricOptions>(
        LibfabricOptionKeys.All,
        static (options, services) => new LibfabricProvider(options, services.GetRequiredService<ILoggerFactory>()))
    {
        Validator = new LibfabricOptionsValidator(),
        ForeignKeys = LibraryProviders.Keys,
        EndpointType = typeof(LibfabricEndpoint),
    };

    /// <summary>Whether a libfabric that is new enough is installed on this machine.</summary>
    public static bool IsSupported => LibfabricLibrary.IsSupported;

    /// <summary>Why <see cref="IsSupported"/> is false, and the command that installs libfabric; null if it is true.</summary>
    public static string? NotSupportedReason => LibfabricLibrary.NotSupportedReason;

    /// <inheritdoc/>
    public IRmaContext Open()
    {
        // Endpoints of the context read the options later.
        LibfabricOptions options = _options.Copy();
        LibfabricOptionsValidator.ThrowIfInvalid(options);
        using RmaSpan span = RmaActivities.StartOpen(options.Provider ?? "libfabric", _logger);
        try
        {
            return OpenContext(options);
        }
        catch (Exception e)
        {
            span.Fail(e);
            throw;
        }
    }

    private LibfabricContext OpenContext(LibfabricOptions options)
    {
        LibfabricLibrary library = LoadLibrary(options.LibraryPath);
        LibfabricEnvironment.Apply(options, _logger);
        if (OperatingSystem.IsLinux() && LibfabricDiscovery.IsSharedMemory(_options.Provider))
            SharedMemoryFile.RemoveDead(_logger);
        InfoHandle info = LibfabricDiscovery.Find(library, options);
        try
        {
            ThrowIfNotAdvertisable(info, options);
            LibfabricContext context = LibfabricContext.Open(library, info, options, _logger, _time);
            Log.LibfabricOpened(
                _logger,
                context.Traits.ProviderName,
                info.DomainName,
                library.Version.ToString(),
                context.Traits.Addressing.ToString(),
                context.Traits.KeySize);
            return context;
        }
        catch
        {
            info.Dispose();
            throw;
        }
    }

    /// <summary>Throws if the options would prevent an endpoint from publishing an address, so that this is detected at startup.</summary>
    private static unsafe void ThrowIfNotAdvertisable(InfoHandle info, LibfabricOptions options) =>
        _ = AdvertisedAddress.Of(new ReadOnlySpan<byte>(info.Info->src_addr, (int)info.Info->src_addrlen).ToArray(), info.Info->addr_format, options);

    private static LibfabricLibrary LoadLibrary(string? path)
    {
        if (path is null && LibfabricLibrary.Default is { } library)
            return library;
        return LibfabricLibrary.TryLoad(path, out string reason) ?? throw new RmaProviderException(reason);
    }
}
