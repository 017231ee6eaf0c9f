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
                if (address < range.Address + range.Length && range.Address < address + length)
                    throw Overlapping(range, length);
            }
            nint there = Attach_NeedsLock(address, length);
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
            int error = Detach(range.Address);
            if (error != MpiConstants.MPI_SUCCESS)
                throw MpiErrors.Registration(job.Library, "MPI_Win_detach", range.Length, error);
            range.Users = 0;
            _ranges.Remove(range);
        }
    }

    /// <returns>What a peer passes as the address of the first byte.</returns>
    private nint Attach_NeedsLock(nint address, long length)
    {
        job.Enter();
        try
        {
            int error = job.Library.Calls.MPI_Win_attach(job.Window, (void*)address, (nint)length);
            if (error != MpiConstants.MPI_SUCCESS)
                throw MpiErrors.Registration(job.Library, "MPI_Win_attach", length, error, Explain_NeedsLock(error));
            nint there = address;
            _ = job.Library.Calls.MPI_Get_address((void*)address, &there);
            return there;
        }
        finally
        {
            job.Leave();
        }
    }

    private int Detach(nint address)
    {
        if (!job.TryEnter())
            return MpiConstants.MPI_SUCCESS;
        try
        {
            return job.Library.Calls.MPI_Win_detach(job.Window, (void*)address);
        }
        finally
        {
            job.Leave();
        }
    }

    private string Explain_NeedsLock(int error) =>
        Limit > 0 && job.Library.ClassOf(error) == job.Library.Constants.MPI_ERR_RMA_ATTACH
            ? $"Open MPI limits how many ranges of memory a process attaches, and {_ranges.Count} are attached: its component osc/rdma takes {Limit} ({MaxAttachName}), and osc/ucx 32 or 48, which can't be raised. "
                + $"Raise the limit for all ranks (mpirun --mca osc rdma --mca {MaxAttachName} 1024, or Provider:Settings with OMPI_MCA_osc and {MaxAttachVariable}), or have fewer and larger slabs (MaxSlabBytes)."
            : "";

    private RmaRegistrationException Overlapping(Range attached, long length)
    {
        int code = MpiErrors.FirstCode + job.Library.Constants.MPI_ERR_RMA_ATTACH;
        string provider = MpiContext.NameOf(job.Library.Implementation);
        return new RmaRegistrationException(
            $"{InWords.Size(length)} of memory can't be attached on provider '{provider}': a part of them is attached already, within {InWords.Size(attached.Length)}, and MPI forbids to attach memory twice. Register the whole, or parts that don't overlap.",
            "MPI_Win_attach",
            length,
            provider,
            code,
            MpiErrors.NameOf(job.Library, code));
    }

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
