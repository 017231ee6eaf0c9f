using AllocTools.Endpoints;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Mpi;

/// <summary>
/// Options of the <see cref="MpiProvider"/>. MPI is initialized once per process, so all pools of a process must have
/// the same values, except for <see cref="Endpoint"/>.
/// </summary>
public sealed class MpiOptions
{
    /// <summary>
    /// The implementation of MPI to use. A process that was started by mpirun must use the implementation of that
    /// mpirun.
    /// Default: <see cref="MpiImplementation.Any"/>.
    /// </summary>
    [OptionChoice(typeof(MpiImplementation))]
    public MpiImplementation Implementation { get; set; }

    /// <summary>
    /// MPI's library, as a file or a name that the system searches for. Default: none, which selects
    /// <c>libmpi.so.40</c> of Open MPI, or <c>libmpich.so.12</c> or <c>libmpi.so.12</c> of MPICH.
    /// </summary>
    public string? LibraryPath { get; set; }

    /// <summary>
    /// How long opening the first pool of a process waits for the other ranks of the job, each of which must
    /// open one.
    /// Range: 1 ms to 24 h, or -1 ms for no limit. Default: 60 s.
    /// </summary>
    [OptionTimeRange(1, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan StartTimeout { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>
    /// How long the end of the process waits for the end of the other ranks, because all ranks finalize MPI
    /// together. After that time the process ends without finalizing MPI, and mpirun ends the ranks that still run,
    /// whatever they do. Set it if a rank that hangs must not keep the others running, and all ranks otherwise end
    /// within this time.
    /// Range: 1 ms to 24 h, or -1 ms for no limit, which is MPI's own rule. Default: no limit.
    /// </summary>
    [OptionTimeRange(1, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan EndTimeout { get; set; } = Timeout.InfiniteTimeSpan;

    /// <summary>
    /// Settings of MPI and of the libraries below it, by name, such as <c>OMPI_MCA_osc_rdma_max_attach</c> (<c>ompi_info --all</c>) or
    /// <c>MPIR_CVAR_CH4_OFI_TAG_BITS</c> (<c>mpivars</c>). They are set in the process's environment before MPI is
    /// initialized; variables that are already set there keep their values. All ranks should have the same settings.
    /// </summary>
    public IDictionary<string, string> Settings { get; private set; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Options of the endpoint.</summary>
    [ValidateObjectMembers(typeof(RmaEndpointOptionsRanges))]
    public RmaEndpointOptions Endpoint { get; private set; } = new();

    /// <summary>Returns a copy that shares nothing with these options.</summary>
    internal MpiOptions Copy()
    {
        var copy = (MpiOptions)MemberwiseClone();
        copy.Settings = new Dictionary<string, string>(Settings, StringComparer.Ordinal);
        copy.Endpoint = Endpoint.Copy();
        return copy;
    }
}
