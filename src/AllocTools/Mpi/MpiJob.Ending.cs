using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <content>The end of MPI: with the process, or by the application.</content>
internal sealed unsafe partial class MpiJob
{
    /// <summary>At the end of the process: lets the calls that run come back, and finalizes MPI, where the application does not.</summary>
    private void End()
    {
        _isEnding = true;
        Fence.Full();
        if (!_started.IsCompletedSuccessfully)
        {
            Log.MpiNotFinalized(_logger, "it could not be started with all ranks");
            return;
        }
        if (!Router.WaitUntilLeft(LeaveTime))
        {
            Log.MpiNotFinalized(_logger, "a call into MPI has not come back");
            return;
        }
        if (Volatile.Read(ref _exchanges) > 0)
        {
            Log.MpiNotFinalized(_logger, "not all ranks have come to an exchange");
            return;
        }
        Task ended = _thread.RunAsync(EndMpi);
        if (Task.WaitAny([ended], _endTimeout) < 0)
        {
            _hasGivenUp = true;
            // No thread is in MPI while the process runs what its libraries do at exit.
            Task.WaitAny([ended], LeaveTime);
            Log.MpiNotFinalized(_logger, $"not all ranks have come to their end within {_endTimeout.TotalSeconds:0.###} s (EndTimeout)");
        }
        else if (ended.Exception is { } failure)
        {
            Log.MpiNotFinalized(_logger, failure.InnerException!.Message);
        }
    }

    private void EndMpi()
    {
        // Others may go on for long: looked at in pauses, while MPI itself would spin.
        nint barrier;
        Check(Library.Calls.MPI_Ibarrier(_duplicate, &barrier), "MPI_Ibarrier");
        while (!IsDone(ref barrier, "MPI_Ibarrier"))
        {
            if (_hasGivenUp)
                return;
            Thread.Sleep(Pause);
        }
        FreeAll();
        Check(Library.Calls.MPI_Finalize(), "MPI_Finalize");
    }

    /// <summary>Within the application's call of MPI_Finalize, in which the ranks wait for each other anyway.</summary>
    private void EndByApplication()
    {
        _isEnding = true;
        Fence.Full();
        if (!_started.IsCompletedSuccessfully)
            return;
        try
        {
            if (Router.WaitUntilLeft(LeaveTime) && Volatile.Read(ref _exchanges) == 0)
                FreeAll();
            else
                Log.MpiFailedAside(_logger, "the application finalizes MPI while a call into MPI, or an exchange, has not come back.");
        }
        catch (RmaProviderException e)
        {
            Log.MpiFailedAside(_logger, e.Message);
        }
    }

    /// <summary>What this library has of MPI. All ranks do so together.</summary>
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
