using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using AllocTools.Providers;
using AllocTools.Regions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace AllocTools.Mpi;

/// <summary>
/// Attaches memory to a window of MPI and transfers it through an <see cref="MpiEndpoint"/>, for jobs that mpirun
/// starts with Open MPI or MPICH. Every rank of the job must open a pool or a context on it.
/// </summary>
public sealed class MpiProvider : IRmaProvider
{
    private readonly MpiOptions _options;
    private readonly ILogger _logger;

    /// <summary>Creates the provider.</summary>
    /// <param name="options">The options, which are copied when a context is opened.</param>
    /// <param name="loggerFactory">The factory of the provider's logger; null for no logging.</param>
    public MpiProvider(MpiOptions? options = null, ILoggerFactory? loggerFactory = null)
    {
        _options = options ?? new MpiOptions();
        _logger = GuardedLogger.Over((loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<MpiProvider>());
    }

    /// <inheritdoc/>
    [Experimental(ExperimentalId.Providers)]
    public static RmaProviderDescriptor Descriptor { get; } = new RmaProviderDescriptor<MpiOptions>(
        MpiOptionKeys.All,
        static (options, services) => new MpiProvider(options, services.GetRequiredService<ILoggerFactory>()))
    {
        Validator = new MpiOptionsValidator(),
        ForeignKeys = LibraryProviders.Keys,
        EndpointType = typeof(MpiEndpoint),
    };

    /// <summary>
    /// Whether MPI is installed on this machine: the implementation whose mpirun has started the process, or either
    /// one if no mpirun has. Its library is searched for but not loaded, because a process can load only one, which
    /// the options may choose.
    /// </summary>
    public static bool IsSupported => Missing.Value.Length == 0;

    /// <summary>Why <see cref="IsSupported"/> is false, and the command that installs MPI; null if it is true.</summary>
    public static string? NotSupportedReason => IsSupported ? null : Missing.Value;

    private static readonly Lazy<string> Missing = new(static () => MpiResolver.FindMissing(NativeEnvironment.Get, GlobalLibrary.IsThere));

    /// <inheritdoc/>
    public IRmaContext Open()
    {
        MpiOptions options = _options.Copy();
        MpiOptionsValidator.ThrowIfInvalid(options);
        using RmaSpan span = RmaActivities.StartOpen("mpi", _logger);
        try
        {
            MpiEnvironment.Apply(options, _logger);
            MpiJob job = MpiJob.Open(options, _logger);
            var context = new MpiContext(job, options, _logger);
            Log.MpiOpened(_logger, context.Traits.ProviderName, job.Rank, job.Size, job.Library.VersionText);
            return context;
        }
        catch (Exception e)
        {
            span.Fail(e);
            throw;
        }
    }
}
