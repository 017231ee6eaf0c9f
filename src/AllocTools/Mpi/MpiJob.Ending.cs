using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <content>Ends MPI, at the end of the process or when the application finalizes it.</content>
internal sealed unsafe partial class MpiJob
{
    /// <summary>Called at the end of the process: waits for running calls, and finalizes MPI, unless the application does so.</summary>
    private void End()
    {
        _isEnding = true;
        Fence.Full();
        if (!Router.WaitUntilLeft(LeaveTime))
        {
            Log.MpiNotFinalized(_logger, "a call into MPI has not returned");
            return;
        }
        if (FindStartFailure() is { } failedStart)
        {
            Log.MpiNotFinalized(_logger, failedStart);
            return;
        }
        if (Volatile.Read(ref _exchanges) > 0)
        {
            Log.MpiNotFinalized(_logger, "not all ranks have joined an exchange");
            return;
        }
        Task ended = _thread.RunAsync(EndMpi);
        if (Task.WaitAny([ended], _endTimeout) < 0)
        {
            _hasGivenUp = true;
            // No thread is in MPI while the process runs its libraries' exit handlers.
            Task.WaitAny([ended], LeaveTime);
            Log.MpiNotFinalized(_logger, $"not all ranks have ended within {_endTimeout.TotalSeconds:0.###} s (EndTimeout)");
        }
        else if (ended.Exception is { } failure)
        {
            Log.MpiNotFinalized(_logger, failure.InnerException!.Message);
        }
    }

    private void EndMpi()
    {
        nint barrier;
        Check(Library.Calls.MPI_Ibarrier(_duplicate, &barrier), "MPI_Ibarrier");
        if (!TryWaitFor(barrier, "MPI_Ibarrier", () => _hasGivenUp))
            return;
        FreeAll();
        Check(Library.Calls.MPI_Finalize(), "MPI_Finalize");
    }

    /// <summary>Called within the application's call of MPI_Finalize, in which the ranks wait for each other anyway.</summary>
    private void EndByApplication()
    {
        _isEnding = true;
        Fence.Full();
        try
        {
            bool hasLeft = Router.WaitUntilLeft(LeaveTime);
            if (FindStartFailure() is { } failure)
            {
                Log.MpiFailedAside(_logger, failure);
                return;
            }
            bool canFree = hasLeft && Volatile.Read(ref _exchanges) == 0;
            if (!canFree)
                Log.MpiFailedAside(_logger, "the application finalizes MPI while a call into MPI, or an exchange, has not returned.");
            // Freeing is collective: either all ranks do it, or none.
            if (DoAllAgree(canFree))
                FreeAll();
        }
        catch (Exception e)
        {
            // All exceptions are caught, because the frames above belong to MPI.
            Log.MpiFailedAside(_logger, e.Message);
        }
    }

    /// <summary>Returns why MPI was not started completely; null if it was. No call into MPI is running.</summary>
    private string? FindStartFailure()
    {
        Task.WaitAny([_started], LeaveTime);
        return _started.IsCompletedSuccessfully ? null
            : _started.Exception is { } failure ? $"its start failed: {failure.InnerException!.Message.TrimEnd('.')}"
            : "its start has not returned";
    }

    /// <summary>Exchanges whether each rank can continue, and returns whether all can. The call waits for all ranks, like MPI_Finalize.</summary>
    private bool DoAllAgree(bool canGoOn)
    {
        byte own = canGoOn ? (byte)1 : (byte)0;
        byte* all = stackalloc byte[Size];
        nint request;
        Check(Library.Calls.MPI_Iallgather(&own, 1, Library.Byte, all, 1, Library.Byte, _duplicate, &request), "MPI_Iallgather");
        TryWaitFor(request, "MPI_Iallgather", static () => false);
        return !new ReadOnlySpan<byte>(all, Size).Contains((byte)0);
    }

    /// <summary>Frees the MPI objects of this library. All ranks do so together.</summary>
    private void FreeAll()
    {
        Check(Library.Calls.MPI_Win_unlock_all(_window), "MPI_Win_unlock_all");
        fixed (nint* window = &_window)
            Check(Library.Calls.MPI_Win_free(window), "MPI_Win_free");
        Free(ref _exchange);
        Free(ref _duplicate);
    }

    private void Free(ref nint communicator)
    {
        fixed (nint* at = &communicator)
            Check(Library.Calls.MPI_Comm_free(at), "MPI_Comm_free");
    }
}
