using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <content>Posting operations to MPI.</content>
internal sealed unsafe partial class MpiDriver
{
    public override RmaPostResult Post(RmaDriverOperation operation)
    {
        if (!TryEnter())
            return RmaPostResult.Full;
        try
        {
            if (operation.Kind == RmaOperationKind.Receive)
            {
                _operations[operation.Index] = new MpiOperation { Stage = MpiStage.Receive, Address = operation.Address, Length = operation.Length };
                _receives.Add(operation.Index);
                MatchReceives();
                return RmaPostResult.Posted;
            }
            int error = operation.Kind switch
            {
                RmaOperationKind.Send => Send(operation),
                RmaOperationKind.Write => Write(operation),
                _ => Read(operation),
            };
            return error == MpiConstants.MPI_SUCCESS ? RmaPostResult.Posted : RmaPostResult.Refused(MpiErrors.CodeOf(_library, error));
        }
        finally
        {
            LeaveTurn();
        }
    }

    private int Send(RmaDriverOperation operation)
    {
        var peer = (MpiPeer)operation.Peer!;
        int error = Greet(peer);
        if (error == MpiConstants.MPI_SUCCESS)
            error = Send(operation.Index, (void*)operation.Address, (int)operation.Length, MpiKind.Message, peer);
        if (error == MpiConstants.MPI_SUCCESS)
            _operations[operation.Index] = new MpiOperation { Stage = MpiStage.Send, Peer = peer, Length = operation.Length, Number = ++peer.Flow.Sent };
        return error;
    }

    /// <summary>Announces, once before the first message, which endpoint the messages are meant for.</summary>
    private int Greet(MpiPeer peer)
    {
        if (peer.Flow.HasGreeted)
            return MpiConstants.MPI_SUCCESS;
        int error = _job.Router.Say(MpiWord.Hello, MpiAddress.IdentityOf(peer.Flow.To), _number, peer.Place);
        peer.Flow.HasGreeted = error == MpiConstants.MPI_SUCCESS;
        return error;
    }

    private int Send(int index, void* bytes, int length, MpiKind kind, MpiPeer peer)
    {
        nint request;
        int error = _library.Calls.MPI_Issend(bytes, length, _library.Byte, peer.Place.Rank, _job.Router.TagOf(kind, _number, peer.Place.Endpoint), _job.Communicator, &request);
        if (error == MpiConstants.MPI_SUCCESS)
            _requests.Add(request, index);
        return error;
    }

    private int Write(RmaDriverOperation operation)
    {
        var peer = (MpiPeer)operation.Peer!;
        int length = (int)operation.Length;
        int error;
        if (length <= LongestWithoutRequest)
        {
            error = _library.Calls.MPI_Put((void*)operation.Address, length, _library.Byte, peer.Place.Rank, (nint)operation.RemoteAddress, length, _library.Byte, _job.Window);
            if (error == MpiConstants.MPI_SUCCESS)
                _written.Enqueue(operation.Index);
        }
        else
        {
            nint request;
            error = _library.Calls.MPI_Rput((void*)operation.Address, length, _library.Byte, peer.Place.Rank, (nint)operation.RemoteAddress, length, _library.Byte, _job.Window, &request);
            if (error == MpiConstants.MPI_SUCCESS)
                _requests.Add(request, operation.Index);
        }
        if (error == MpiConstants.MPI_SUCCESS)
            _operations[operation.Index] = new MpiOperation { Stage = MpiStage.Write, Peer = peer, Length = length, Notification = operation.Notification };
        return error;
    }

    private int Read(RmaDriverOperation operation)
    {
        var peer = (MpiPeer)operation.Peer!;
        int length = (int)operation.Length;
        nint request;
        int error = _library.Calls.MPI_Rget((void*)operation.Address, length, _library.Byte, peer.Place.Rank, (nint)operation.RemoteAddress, length, _library.Byte, _job.Window, &request);
        if (error != MpiConstants.MPI_SUCCESS)
            return error;
        _requests.Add(request, operation.Index);
        _operations[operation.Index] = new MpiOperation { Stage = MpiStage.Read, Peer = peer, Length = length };
        return error;
    }
}
