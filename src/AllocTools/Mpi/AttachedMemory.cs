using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using AllocTools.Validation;

namespace AllocTools.Mpi;

/// <summary>The memory of the process that is attached to the window.</summary>
/// <remarks>
/// MPI wants what is attached not to overlap, and Open MPI refuses what lies inside of what is attached. So a range that is
/// covered by an attached one shares it, which stays attached until the last of them is undone.
/// </remarks>
internal sealed unsafe class AttachedMemory(MpiJob job)
{
    private const string MaxAttachName = "osc_rdma_max_attach";
    private const string MaxAttachVariable = "OMPI_MCA_" + MaxAttachName;
    private const int OpenMpiAttachesByDefault = 64;

    private readonly Lock _gate = new();
    private readonly List<Range> _ranges = [];

    /// <summary>How many ranges Open MPI attaches; 0 where MPI has no limit.</summary>
    public long Limit =>
        job.Library.Implementation != MpiImplementation.OpenMpi ? 0
        : int.TryParse(NativeEnvironment.Get(MaxAttachVariable), out int limit) ? limit
        : OpenMpiAttachesByDefault;

    /// <summary>Attaches memory. MPI_Win_attach.</summary>
    /// <exception cref="RmaRegistrationException">MPI refused.</exception>
    public Range Attach(nint address, long length)
    {
        lock (_gate)
        {
            foreach (Range range in _ranges)
            {
                if (range.Address <= address && address + length <= range.Address + range.Length)
                {
                    range.Users++;
                    return range;
                }
            }
            int error = job.Library.Calls.MPI_Win_attach(job.Window, (void*)address, (nint)length);
            if (error != MpiConstants.MPI_SUCCESS)
                throw MpiErrors.Registration(job.Library, "MPI_Win_attach", length, error, Explain_NeedsLock(error));
            nint there = address;
            _ = job.Library.Calls.MPI_Get_address((void*)address, &there);
            var added = new Range(address, length, there) { Users = 1 };
            _ranges.Add(added);
            return added;
        }
    }

    /// <summary>Undoes one <see cref="Attach"/>. MPI_Win_detach.</summary>
    /// <exception cref="RmaRegistrationException">MPI refused.</exception>
    public void Detach(Range range)
    {
        lock (_gate)
        {
            if (range.Users > 1)
            {
                range.Users--;
                return;
            }
            // At the end of the process the window may be gone, and all that was attached with it.
            int error = job.IsEnding ? MpiConstants.MPI_SUCCESS : job.Library.Calls.MPI_Win_detach(job.Window, (void*)range.Address);
            if (error != MpiConstants.MPI_SUCCESS)
                throw MpiErrors.Registration(job.Library, "MPI_Win_detach", range.Length, error);
            range.Users = 0;
            _ranges.Remove(range);
        }
    }

    private string Explain_NeedsLock(int error) =>
        Limit > 0 && _ranges.Count >= Limit && job.Library.ClassOf(error) == job.Library.Constants.MPI_ERR_RMA_ATTACH
            ? $"Open MPI attaches {Limit} ranges of memory in a process at the most ({MaxAttachName}), and {_ranges.Count} are attached. "
                + $"Raise it for all ranks (mpirun --mca {MaxAttachName} 1024, or Provider:Settings:{MaxAttachVariable}), or have fewer and larger slabs (MaxSlabBytes)."
            : "";

    /// <summary>A range that is attached.</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="remoteAddress">What a peer passes as the address of the first byte.</param>
    internal sealed class Range(nint address, long length, nint remoteAddress)
    {
        public nint Address => address;

        public long Length => length;

        public nint RemoteAddress => remoteAddress;

        public int Users { get; set; }
    }
}
