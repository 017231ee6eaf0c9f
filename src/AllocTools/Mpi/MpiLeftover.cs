using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>The unfinished MPI operations of a closed endpoint.</summary>
/// <param name="job">The job.</param>
/// <param name="requests">The requests.</param>
/// <param name="ranks">The ranks with unflushed writes.</param>
/// <param name="onEnd">Called once MPI has no more operations. It is not called after an error, because then it is not
/// known which memory MPI may access.</param>
internal sealed unsafe class MpiLeftover(MpiJob job, MpiRequests requests, IReadOnlyCollection<int> ranks, Action onEnd)
{
    private readonly int[] _owners = new int[requests.Count];
    private readonly int[] _errors = new int[requests.Count];
    private volatile bool _isFlushed = ranks.Count == 0;
    private volatile bool _hasFailed;

    /// <summary>Flushes the writes on a separate thread, because this waits for the target, which may hang.</summary>
    public void BeginFlush()
    {
        if (!_isFlushed)
            new Thread(Flush) { IsBackground = true, Name = "AllocTools MPI flush" }.UnsafeStart();
    }

    /// <summary>True once nothing is left to process.</summary>
    public bool TryEnd()
    {
        int error = requests.Test(_owners, _errors, out _);
        if (error != MpiConstants.MPI_SUCCESS)
            Fail("MPI_Testsome", error);
        if (_hasFailed)
            return true;
        return requests.Count == 0 && _isFlushed;
    }

    /// <summary>Called after <see cref="TryEnd"/> has returned true. The caller is not inside the router.</summary>
    public void ReportEnd()
    {
        if (!_hasFailed)
            onEnd();
    }

    private void Flush()
    {
        if (!job.TryEnter())
            return;
        try
        {
            foreach (int rank in ranks)
            {
                int error = job.Library.Calls.MPI_Win_flush(rank, job.Window);
                if (error != MpiConstants.MPI_SUCCESS)
                    Fail("MPI_Win_flush", error);
            }
        }
        finally
        {
            job.Leave();
        }
        _isFlushed = true;
    }

    private void Fail(string operation, int error)
    {
        job.NoteFailure(operation, error);
        _hasFailed = true;
    }
}
