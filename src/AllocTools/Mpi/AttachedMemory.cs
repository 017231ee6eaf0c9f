using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using AllocTools.Validation;

namespace AllocTools.Mpi;

/// <summary>The memory of the process that is attached to the window.</summary>
/// <remarks>
/// MPI requires that attached ranges don't overlap, and Open MPI refuses a range inside an attached one. So a range
/// within an attached one shares it, and that one stays attached until the last of them is detached. MPI is called
/// outside the lock: meanwhile a range has a <see cref="Range.Change"/>, for which overlapping ones wait.
/// </remarks>
internal sealed unsafe class AttachedMemory(MpiJob job)
{
    private const string MaxAttachName = "osc_rdma_max_attach";
    private const string MaxAttachVariable = "OMPI_MCA_" + MaxAttachName;
    private const int OpenMpiAttachesByDefault = 64;

    private readonly Lock _gate = new();
    private readonly List<Range> _ranges = [];

    /// <summary>The number of ranges that Open MPI can attach; 0 if MPI has no limit.</summary>
    public long Limit =>
        job.Library.Implementation != MpiImplementation.OpenMpi ? 0
        : int.TryParse(NativeEnvironment.Get(MaxAttachVariable), out int limit) ? limit
        : OpenMpiAttachesByDefault;

    /// <summary>Attaches memory. MPI_Win_attach.</summary>
    /// <exception cref="RmaRegistrationException">MPI refused the range.</exception>
    public Range Attach(nint address, long length)
    {
        Range own = new(address, length);
        while (Find(own) is { } other)
        {
            if (other.Change is { } change)
                change.Wait();
            else if (TryShare(other, own))
                return other;
        }
        try
        {
            own.RemoteAddress = CallAttach(address, length);
        }
        catch
        {
            lock (_gate)
                _ranges.Remove(own);
            own.EndChange();
            throw;
        }
        own.EndChange();
        return own;
    }

    /// <summary>Undoes one <see cref="Attach"/>. MPI_Win_detach.</summary>
    /// <exception cref="RmaRegistrationException">MPI refused to detach the range.</exception>
    public void Detach(Range range)
    {
        lock (_gate)
        {
            if (range.Users > 1)
            {
                range.Users--;
                return;
            }
            range.BeginChange();
        }
        // At the end of the process the window may no longer exist, together with all attached memory.
        int error = CallDetach(range.Address);
        if (error == MpiConstants.MPI_SUCCESS)
        {
            lock (_gate)
                _ranges.Remove(range);
        }
        range.EndChange();
        if (error != MpiConstants.MPI_SUCCESS)
            throw MpiErrors.Registration(job.Library, "MPI_Win_detach", range.Length, error);
    }

    /// <summary>Finds an overlapping range, or adds the new one and returns null if there is none.</summary>
    private Range? Find(Range own)
    {
        lock (_gate)
        {
            Range? other = _ranges.Find(r => own.Address < r.Address + r.Length && r.Address < own.Address + own.Length);
            if (other is null)
                _ranges.Add(own);
            return other;
        }
    }

    /// <returns>False if the range is being detached, or was detached.</returns>
    private bool TryShare(Range attached, Range own)
    {
        lock (_gate)
        {
            if (attached.Change is not null || !_ranges.Contains(attached))
                return false;
            if (own.Address >= attached.Address && own.Address + own.Length <= attached.Address + attached.Length)
            {
                attached.Users++;
                return true;
            }
        }
        throw Overlapping(attached, own.Length);
    }

    /// <returns>The value that a peer passes as the address of the first byte.</returns>
    private nint CallAttach(nint address, long length)
    {
        job.Enter();
        try
        {
            int error = job.Library.Calls.MPI_Win_attach(job.Window, (void*)address, (nint)length);
            if (error != MpiConstants.MPI_SUCCESS)
                throw MpiErrors.Registration(job.Library, "MPI_Win_attach", length, error, Explain(error));
            nint there = address;
            _ = job.Library.Calls.MPI_Get_address((void*)address, &there);
            return there;
        }
        finally
        {
            job.Leave();
        }
    }

    private int CallDetach(nint address)
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

    /// <summary>The number of attached ranges, including those that are about to be attached.</summary>
    private int Count
    {
        get
        {
            lock (_gate)
                return _ranges.Count;
        }
    }

    private string Explain(int error) =>
        Limit > 0 && job.Library.ClassOf(error) == job.Library.Constants.MPI_ERR_RMA_ATTACH
            ? $"Open MPI limits how many ranges of memory a process attaches, and {Count - 1} are attached: its component osc/rdma takes {Limit} ({MaxAttachName}), and osc/ucx 32 or 48, which can't be raised. "
                + $"Raise the limit for all ranks (mpirun --mca osc rdma --mca {MaxAttachName} 1024, or Provider:Settings with OMPI_MCA_osc and {MaxAttachVariable}), or have fewer and larger slabs (MaxSlabBytes)."
            : "";

    private RmaRegistrationException Overlapping(Range attached, long length)
    {
        int code = MpiErrors.FirstCode + job.Library.Constants.MPI_ERR_RMA_ATTACH;
        string provider = MpiContext.NameOf(job.Library.Implementation);
        return new RmaRegistrationException(
            $"{InWords.Size(length)} of memory can't be attached on provider '{provider}': a part is already attached, within {InWords.Size(attached.Length)}, and MPI does not allow memory to be attached twice. Register the whole, or parts that don't overlap.",
            "MPI_Win_attach",
            length,
            provider,
            code,
            MpiErrors.NameOf(job.Library, code));
    }

    /// <summary>A range that is attached, or is just being attached or detached.</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">The length in bytes.</param>
    internal sealed class Range(nint address, long length)
    {
        private volatile TaskCompletionSource? _change = new();

        public nint Address => address;

        public long Length => length;

        /// <summary>The value that a peer passes as the address of the first byte.</summary>
        public nint RemoteAddress { get; set; }

        /// <summary>The number of registrations that share the range.</summary>
        public int Users { get; set; } = 1;

        /// <summary>Completes when a thread has attached or detached the range; null while none is doing so.</summary>
        public Task? Change => _change?.Task;

        public void BeginChange() => _change = new TaskCompletionSource();

        public void EndChange()
        {
            TaskCompletionSource? change = _change;
            _change = null;
            change?.SetResult();
        }
    }
}
