using AllocTools.Endpoints;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Mpi;

/// <summary>Options of the <see cref="MpiProvider"/>. MPI is initialized once a process, so all its pools must have the same but for <see cref="Endpoint"/>.</summary>
public sealed class MpiOptions
{
    /// <summary>
    /// Which implementation of MPI is used. A process that was started by mpirun must use that mpirun's.
    /// Default: <see cref="MpiImplementation.Any"/>.
    /// </summary>
    [OptionChoice(typeof(MpiImplementation))]
    public MpiImplementation Implementation { get; set; }

    /// <summary>MPI's library, a file or a name that the system searches for. Default: none, <c>libmpi.so.40</c> of Open MPI, or <c>libmpich.so.12</c> or <c>libmpi.so.12</c> of MPICH.</summary>
    public string? LibraryPath { get; set; }

    /// <summary>
    /// How long opening the first pool of a process waits for the other ranks of the job, each of which must open one.
    /// Range: 1 ms to 24 h, or -1 ms for no limit. Default: 60 s.
    /// </summary>
    [OptionTimeRange(1, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan StartTimeout { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>
    /// How long the end of the process waits for the end of the other ranks, since MPI is finalized by all together. After it the process ends
    /// without, and mpirun ends the ranks that still run, whatever they do. Set it where a rank that hangs must not keep the others, and all ranks
    /// end within this time otherwise. Range: 1 ms to 24 h, or -1 ms for no limit, as is MPI's own rule. Default: no limit.
    /// </summary>
    [OptionTimeRange(1, OptionTimeRangeAttribute.Day, InfiniteMeans = "no limit")]
    public TimeSpan EndTimeout { get; set; } = Timeout.InfiniteTimeSpan;

    /// <summary>
    /// Settings of MPI and of the libraries below it, by name, such as <c>OMPI_MCA_osc_rdma_max_attach</c> (<c>ompi_info --all</c>) or
    /// <c>MPIR_CVAR_CH4_OFI_TAG_BITS</c> (<c>mpivars</c>). Set in the process's environment before MPI is initialized; what the environment sets
    /// already is kept. All ranks should have the same.
    /// </summary>
    public IDictionary<string, string> Settings { get; private set; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Options of the endpoint.</summary>
    [ValidateObjectMembers(typeof(RmaEndpointOptionsRanges))]
    public RmaEndpointOptions Endpoint { get; private set; } = new();

    /// <summary>A copy that shares nothing with these options.</summary>
    internal MpiOptions Copy()
    {
        var copy = (MpiOptions)MemberwiseClone();
        copy.Settings = new Dictionary<string, string>(Settings, StringComparer.Ordinal);
        copy.Endpoint = Endpoint.Copy();
        return copy;
    }
}
