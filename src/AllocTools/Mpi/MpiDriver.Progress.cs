using System.Runtime.InteropServices;
using AllocTools.Endpoints.Drivers;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <content>Progress turns: completions, arrived messages, and writes to flush.</content>
internal sealed unsafe partial class MpiDriver
{
    /// <summary>Lets the next progress turn end an operation.</summary>
    private void End(int index, int error)
    {
        _ended.Enqueue((index, error));
        Wake();
    }

    private bool ReportEnded(RmaDriverCompletions completions)
    {
        if (_ended.Count == 0)
            return false;
        // A report may post operations, which may end others; the next turn reports those.
        for (int left = _ended.Count; left > 0 && _ended.TryDequeue(out (int Index, int Error) ended); left--)
            Fail(completions, ended.Index, ended.Error);
        return true;
    }

    private bool TakeArrived(RmaDriverCompletions completions)
    {
        if (_arrived.IsEmpty)
            return false;
        for (int left = _arrived.Count; left > 0 && _arrived.TryDequeue(out MpiArrival arrival); left--)
        {
            if (arrival.Kind == MpiKind.Message)
                _receives.Add(arrival);
            else if (arrival.Kind == MpiKind.Notification)
                Notify(completions, arrival);
            else
                Hear(completions, arrival);
        }
        MatchReceives();
        return true;
    }

    private void Notify(RmaDriverCompletions completions, in MpiArrival arrival)
    {
        ulong number;
        nint message = arrival.Message;
        // The message has 8 bytes, which have arrived, so MPI_Mrecv does not wait.
        _job.Check(_library.Calls.MPI_Mrecv(&number, sizeof(ulong), _library.Byte, &message, (void*)_library.Constants.MPI_STATUS_IGNORE), "MPI_Mrecv");
        completions.Notify(number, _peers.GetValueOrDefault(arrival.From));
    }

    private void Hear(RmaDriverCompletions completions, in MpiArrival arrival)
    {
        switch (arrival.Word)
        {
            case MpiWord.Hello:
                _receives.CountAnew(arrival.From);
                break;
            case MpiWord.Recall:
                bool isDropped = _receives.TryTakeBack(arrival.From, arrival.Number, out MpiArrival message);
                int error = _job.Router.Say(isDropped ? MpiWord.Recalled : MpiWord.Kept, arrival.Number, _number, arrival.From);
                if (isDropped)
                    _job.Router.Drop(message.Message, message.Length);
                _job.Check(error, "MPI_Isend");
                break;
            case MpiWord.Recalled or MpiWord.Kept:
                EndRecall(completions, arrival);
                break;
            case MpiWord.Gone:
                Lose(completions, arrival.From);
                break;
        }
    }

    /// <summary>Called when the peer has answered whether it dropped a recalled message.</summary>
    private void EndRecall(RmaDriverCompletions completions, in MpiArrival arrival)
    {
        for (int index = 0; index < _operations.Length; index++)
        {
            ref MpiOperation operation = ref _operations[index];
            if (operation.Stage != MpiStage.Send || operation.Number != arrival.Number || operation.Peer!.Place != arrival.From || operation.Recall == MpiRecall.None)
                continue;
            bool isDone = operation.Recall == MpiRecall.AskedAndDone;
            operation.Recall = arrival.Word == MpiWord.Recalled ? MpiRecall.Dropped : MpiRecall.Kept;
            if (isDone)
                EndSend(completions, index, MpiConstants.MPI_SUCCESS);
            return;
        }
    }

    private void Lose(RmaDriverCompletions completions, MpiPlace place)
    {
        if (_peers.TryGetValue(place, out MpiPeer? peer))
            ReportLost(peer, ClosedReason, MpiErrors.ConnectionReset);
        // The messages to it are dropped, and completed, only now.
        int error = _job.Router.Say(MpiWord.GoneSeen, 0, _number, place);
        for (int index = 0; index < _operations.Length; index++)
        {
            ref MpiOperation operation = ref _operations[index];
            if (operation.Stage is not (MpiStage.Send or MpiStage.Notification) || operation.Peer!.Place != place)
                continue;
            // The value is taken from the operation, because the peer may be inserted again before MPI has completed this.
            operation.IsLost = true;
            if (operation.Recall == MpiRecall.AskedAndDone)
                EndSend(completions, index, MpiConstants.MPI_SUCCESS);
        }
        _job.Check(error, "MPI_Isend");
    }

    private void MatchReceives()
    {
        while (_receives.TryMatch(out int index, out MpiArrival arrival))
        {
            ref MpiOperation receive = ref _operations[index];
            nint message = arrival.Message;
            nint request;
            receive.Stage = MpiStage.Receiving;
            receive.Peer = _peers.GetValueOrDefault(arrival.From);
            // A message that is too long is received into other memory, because truncation is an error for which MPI may end the job.
            if (arrival.Length > receive.Length)
                receive.Address = receive.Room = (nint)NativeMemory.Alloc((nuint)arrival.Length);
            receive.Length = arrival.Length;
            int error = _library.Calls.MPI_Imrecv((void*)receive.Address, arrival.Length, _library.Byte, &message, &request);
            if (error == MpiConstants.MPI_SUCCESS)
                _requests.Add(request, index);
            else
                End(index, MpiErrors.CodeOf(_library, error));
        }
    }

    private bool ReadRequests(RmaDriverCompletions completions)
    {
        if (_read == _found)
        {
            _read = 0;
            _job.Check(_requests.Test(_done, _errors, out _found), "MPI_Testsome");
        }
        bool happened = _read < _found;
        while (_read < _found)
        {
            int index = _done[_read];
            int error = _errors[_read++];
            ref MpiOperation operation = ref _operations[index];
            if (operation.Stage is MpiStage.Send or MpiStage.Notification)
                EndSend(completions, index, error);
            else if (error != MpiConstants.MPI_SUCCESS)
                Fail(completions, index, MpiErrors.CodeOf(_library, error));
            else if (operation.Stage == MpiStage.Write)
                _written.Enqueue(index);
            else
                Complete(completions, index);
        }
        return happened;
    }

    private void EndSend(RmaDriverCompletions completions, int index, int error)
    {
        ref MpiOperation operation = ref _operations[index];
        if (error != MpiConstants.MPI_SUCCESS)
            Fail(completions, index, MpiErrors.CodeOf(_library, error));
        else if (operation.IsLost)
            Fail(completions, index, MpiErrors.ConnectionReset);
        else if (operation.Recall == MpiRecall.Asked)
            operation.Recall = MpiRecall.AskedAndDone;
        else if (operation.Recall == MpiRecall.Dropped)
            Fail(completions, index, Canceled);
        else
            Complete(completions, index);
    }

    /// <summary>Waits until writes that have left their buffers are in the targets' memory, and reports them.</summary>
    private bool Flush(RmaDriverCompletions completions)
    {
        if (_written.Count == 0 && _flushing.Count == 0)
            return false;
        _round++;
        while (_written.TryDequeue(out int index))
        {
            _flushing.Enqueue(index);
            int rank = _operations[index].Peer!.Place.Rank;
            if (_flushed[rank] == _round)
                continue;
            _flushed[rank] = _round;
            _flushErrors[rank] = _library.Calls.MPI_Win_flush(rank, _job.Window);
        }
        while (_flushing.TryDequeue(out int index))
        {
            ref MpiOperation operation = ref _operations[index];
            int error = _flushErrors[operation.Peer!.Place.Rank];
            if (error == MpiConstants.MPI_SUCCESS && operation.Notification is { } number)
                error = SendNotification(index, number);
            else if (error == MpiConstants.MPI_SUCCESS)
                Complete(completions, index);
            if (error != MpiConstants.MPI_SUCCESS)
                Fail(completions, index, MpiErrors.CodeOf(_library, error));
        }
        return true;
    }

    private int SendNotification(int index, ulong number)
    {
        ref MpiOperation operation = ref _operations[index];
        operation.Stage = MpiStage.Notification;
        _numbers[index] = number;
        int error = Greet(operation.Peer!);
        return error != MpiConstants.MPI_SUCCESS ? error : Send(index, &_numbers[index], sizeof(ulong), MpiKind.Notification, operation.Peer!);
    }

    /// <summary>Reports an operation; its object may already have a new use when this returns.</summary>
    private void Complete(RmaDriverCompletions completions, int index)
    {
        ref MpiOperation operation = ref _operations[index];
        long length = operation.Length;
        MpiPeer? sender = operation.Stage == MpiStage.Receiving ? operation.Peer : null;
        NativeMemory.Free((void*)operation.Room);
        operation = default;
        completions.Complete(index, length, sender);
    }

    private void Fail(RmaDriverCompletions completions, int index, int code)
    {
        NativeMemory.Free((void*)_operations[index].Room);
        _operations[index] = default;
        completions.Fail(index, code, "");
    }
}
