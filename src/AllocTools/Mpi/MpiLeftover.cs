using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>What MPI still has of an endpoint that is closed.</summary>
/// <param name="job">The job.</param>
/// <param name="requests">The requests.</param>
/// <param name="ranks">Where writes went that are not flushed.</param>
/// <param name="onEnd">Called once MPI has nothing any more. After an error it is not: what MPI touches is not known then.</param>
internal sealed unsafe class MpiLeftover(MpiJob job, MpiRequests requests, IReadOnlyCollection<int> ranks, Action onEnd)
{
    private readonly int[] _owners = new int[requests.Count];
    private readonly int[] _errors = new int[requests.Count];
    private volatile bool _isFlushed = ranks.Count == 0;
    private volatile bool _hasFailed;

    /// <summary>Flushes the writes, on a thread of its own: that waits for the target, which may hang.</summary>
    public void BeginFlush()
    {
        if (!_isFlushed)
            new Thread(Flush) { IsBackground = true, Name = "AllocTools MPI flush" }.UnsafeStart();
    }

    /// <summary>True once there is nothing to look after any more.</summary>
    public bool TryEnd()
    {
        int error = requests.Test(_owners, _errors, out _);
        if (error != MpiConstants.MPI_SUCCESS)
            Fail("MPI_Testsome", error);
        if (_hasFailed)
            return true;
        return requests.Count == 0 && _isFlushed;
    }

    /// <summary>After <see cref="TryEnd"/> was true. The caller is not inside the router.</summary>
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
