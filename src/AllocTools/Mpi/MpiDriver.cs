using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using AllocTools.Regions;

namespace AllocTools.Mpi;

/// <summary>MPI's part of an endpoint.</summary>
/// <remarks>
/// <para>
/// A write is MPI_Put, or MPI_Rput where it is long: either has left its buffer when it is done, and says nothing of the target. So
/// the turn that finds writes done calls MPI_Win_flush, once for each rank however many writes went there, and only then reports them. The flush
/// waits for the target, so only the endpoint's own thread enters MPI, which is watched.
/// </para>
/// <para>
/// A send is MPI_Issend, which is done once a receive has taken the message: what nobody receives stays with its sender, and
/// never piles up at the target. MPI can't take a send back, so the target is asked to drop the message (<see cref="MpiWord.Recall"/>). Receives are not MPI's before their message is there, so they
/// are given up at once. A write's number follows its flush as a message of its own.
/// </para>
/// </remarks>
internal sealed unsafe class MpiDriver : RmaEndpointDriver
{
    /// <summary>Longer writes have a request, so that the flush need not wait while they move.</summary>
    private const long LongestWithoutRequest = 16 << 10;

    private readonly MpiJob _job;
    private readonly MpiLibrary _library;
    private readonly MpiAddress _address;
    private readonly int _number;
    private readonly byte[] _bytes;
    private readonly MpiOperation[] _operations;
    private readonly MpiRequests _requests;
    private readonly ulong* _numbers;
    private readonly int[] _done;
    private readonly int[] _errors;
    private readonly MpiReceives _receives;
    private readonly int[] _flushed;
    private readonly int[] _flushErrors;
    private readonly ConcurrentDictionary<MpiPlace, MpiPeer> _peers = new();
    private readonly ConcurrentDictionary<string, MpiFlow> _flows = new();
    private readonly ConcurrentQueue<MpiArrival> _arrived = new();
    private List<int> _written = [];
    private List<int> _flushing = [];
    private List<(int Index, int Error)> _ended = [];
    private List<(int Index, int Error)> _ending = [];
    private ulong _lastPeer;
    private int _round;
    private int _depth;
    private Action? _whenDone;
    private bool _isDone;

    public MpiDriver(MpiJob job, RmaProviderTraits traits, int maxOutstanding)
    {
        _job = job;
        _library = job.Library;
        _operations = new MpiOperation[maxOutstanding];
        _receives = new MpiReceives(maxOutstanding);
        _done = new int[maxOutstanding];
        _errors = new int[maxOutstanding];
        _flushed = new int[job.Size];
        _flushErrors = new int[job.Size];
        _number = job.Router.Add(this);
        _address = new MpiAddress(job, traits.ProviderName);
        _bytes = _address.Compose(_number);
        _requests = new MpiRequests(_library, maxOutstanding);
        _numbers = (ulong*)NativeMemory.Alloc((nuint)maxOutstanding, sizeof(ulong));
    }

    public override ReadOnlyMemory<byte> Address => _bytes;

    public override bool PostsBesideProgress => false;

    public override bool MayHangOnDeadPeers => true;

    /// <summary>What MPI has can't be dropped by closing anything.</summary>
    public override bool MustRecallBeforeClosing => true;

    /// <summary>A thread is in a call into MPI.</summary>
    public bool IsInCall => Volatile.Read(ref _depth) > 0;

    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address)
    {
        MpiPlace place = _address.Parse(address);
        return new MpiPeer(address.ToArray(), place, _flows.GetOrAdd(Convert.ToHexString(address), static _ => new MpiFlow()));
    }

    public override ulong InsertPeer(RmaDriverPeer peer) => ++_lastPeer;

    protected internal override void OnPeerInserted(RmaDriverPeer peer)
    {
        var own = (MpiPeer)peer;
        own.Flow.IsGone = false;
        _peers[own.Place] = own;
    }

    protected internal override void OnPeerRemoved(RmaDriverPeer peer) => _peers.TryRemove(new KeyValuePair<MpiPlace, MpiPeer>(((MpiPeer)peer).Place, (MpiPeer)peer));

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
            _depth--;
        }
    }

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        if (!TryEnter())
            return RmaReadResult.Nothing;
        try
        {
            bool happened = ReportEnded(completions);
            happened |= _job.Router.Poll();
            happened |= TakeArrived(completions);
            happened |= ReadRequests(completions);
            happened |= Flush(completions);
            return happened ? RmaReadResult.Something : RmaReadResult.Nothing;
        }
        finally
        {
            _depth--;
        }
    }

    public override void Cancel(RmaDriverOperation operation)
    {
        if (!TryEnter())
            return;
        try
        {
            ref MpiOperation own = ref _operations[operation.Index];
            if (own.Stage == MpiStage.Receive && _receives.TryRemove(operation.Index))
            {
                End(operation.Index, Canceled);
            }
            else if (own.Stage == MpiStage.Send && own.Recall == MpiRecall.None && !own.Peer!.Flow.IsGone)
            {
                own.Recall = MpiRecall.Asked;
                _job.Router.Say(MpiWord.Recall, own.Number, _number, own.Peer.Place);
            }
        }
        finally
        {
            _depth--;
        }
    }

    public override string? FindLoss(RmaDriverOperation operation, int error) => error == MpiErrors.ConnectionReset ? ClosedReason : null;

    public override string NameOf(int error) => MpiErrors.NameOf(_library, error);

    public override string TextOf(int error) => error == MpiErrors.ConnectionReset ? ClosedReason : MpiErrors.TextOf(_library, error);

    public override string? ExplainTimeout(RmaDriverOperation operation, bool wasPosted) =>
        wasPosted && operation.Kind == RmaOperationKind.Send ? "the peer has posted no receive for it, or makes no progress. " : null;

    public override bool Close(bool isRecalled)
    {
        MpiLeftover? leftover = null;
        if (!isRecalled && _requests.Count > 0 && !_job.IsEnding)
            leftover = new MpiLeftover(_requests, Free);
        _job.Router.Remove(_number, TakeLeft, leftover);
        if (leftover is not null)
            return false;
        Free();
        return true;
    }

    internal override void WhenDone(Action done)
    {
        lock (_arrived)
        {
            if (!_isDone)
            {
                _whenDone = done;
                return;
            }
        }
        done();
    }

    /// <summary>Something has arrived. The caller is inside the router.</summary>
    public void Take(in MpiArrival arrival)
    {
        _arrived.Enqueue(arrival);
        Wake();
    }

    private const string ClosedReason = "its endpoint was closed";
    private const int Canceled = 125;

    private void Free()
    {
        Action? done;
        lock (_arrived)
        {
            _isDone = true;
            done = _whenDone;
        }
        _requests.Free();
        NativeMemory.Free(_numbers);
        done?.Invoke();
    }

    /// <summary>
    /// The process may be about to finalize MPI, while endpoints are still open: no call begins then, and those that run are waited
    /// for. The caller has the turn.
    /// </summary>
    private bool TryEnter()
    {
        if (_depth > 0)
        {
            _depth++;
            return true;
        }
        Volatile.Write(ref _depth, 1);
        Fence.Full();
        if (!_job.IsEnding)
            return true;
        Volatile.Write(ref _depth, 0);
        return false;
    }

    private int Send(RmaDriverOperation operation)
    {
        var peer = (MpiPeer)operation.Peer!;
        if (!peer.Flow.HasGreeted)
        {
            _job.Router.Say(MpiWord.Hello, 0, _number, peer.Place);
            peer.Flow.HasGreeted = true;
        }
        int error = Send(operation.Index, (void*)operation.Address, (int)operation.Length, MpiKind.Message, peer);
        if (error == MpiConstants.MPI_SUCCESS)
            _operations[operation.Index] = new MpiOperation { Stage = MpiStage.Send, Peer = peer, Length = operation.Length, Number = ++peer.Flow.Sent };
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
                _written.Add(operation.Index);
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

    /// <summary>Ends one by the next turn.</summary>
    private void End(int index, int error)
    {
        _ended.Add((index, error));
        Wake();
    }

    private bool ReportEnded(RmaDriverCompletions completions)
    {
        if (_ended.Count == 0)
            return false;
        // A report may post, and that may end others.
        (_ended, _ending) = (_ending, _ended);
        foreach ((int index, int error) in _ending)
            completions.Fail(index, error, "");
        _ending.Clear();
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
        // It is short, and there.
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
                _job.Router.Say(isDropped ? MpiWord.Recalled : MpiWord.Kept, arrival.Number, _number, arrival.From);
                if (isDropped)
                    _job.Router.Drop(message.Message, message.Length);
                break;
            case MpiWord.Recalled or MpiWord.Kept:
                EndRecall(completions, arrival);
                break;
            case MpiWord.Gone:
                Lose(completions, arrival.From);
                break;
        }
    }

    /// <summary>The peer has said whether a message that it was asked to drop is dropped.</summary>
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
        {
            peer.Flow.IsGone = true;
            ReportLost(peer, ClosedReason, MpiErrors.ConnectionReset);
        }
        // Only now its messages are dropped, and done.
        _job.Router.Say(MpiWord.GoneSeen, 0, _number, place);
        for (int index = 0; index < _operations.Length; index++)
        {
            ref MpiOperation operation = ref _operations[index];
            if (operation.Stage != MpiStage.Send || operation.Peer!.Place != place)
                continue;
            operation.Peer.Flow.IsGone = true;
            if (operation.Recall == MpiRecall.AskedAndDone)
                EndSend(completions, index, MpiConstants.MPI_SUCCESS);
        }
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
            // One that is too long is received elsewhere: to cut it off is an error, which MPI may end the job for.
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
        int count = _requests.Test(_done, _errors);
        for (int i = 0; i < count; i++)
        {
            int index = _done[i];
            ref MpiOperation operation = ref _operations[index];
            int error = _errors[i];
            if (operation.Stage is MpiStage.Send or MpiStage.Notification)
                EndSend(completions, index, error);
            else if (error != MpiConstants.MPI_SUCCESS)
                Fail(completions, index, MpiErrors.CodeOf(_library, error));
            else if (operation.Stage == MpiStage.Write)
                _written.Add(index);
            else
                Complete(completions, index);
        }
        return count > 0;
    }

    private void EndSend(RmaDriverCompletions completions, int index, int error)
    {
        ref MpiOperation operation = ref _operations[index];
        if (error != MpiConstants.MPI_SUCCESS)
            Fail(completions, index, MpiErrors.CodeOf(_library, error));
        else if (operation.Peer!.Flow.IsGone)
            Fail(completions, index, MpiErrors.ConnectionReset);
        else if (operation.Recall == MpiRecall.Asked)
            operation.Recall = MpiRecall.AskedAndDone;
        else if (operation.Recall == MpiRecall.Dropped)
            Fail(completions, index, Canceled);
        else
            Complete(completions, index);
    }

    /// <summary>Waits until the writes that have left their buffers are in their targets' memory, and reports them.</summary>
    private bool Flush(RmaDriverCompletions completions)
    {
        if (_written.Count == 0)
            return false;
        (_written, _flushing) = (_flushing, _written);
        _round++;
        foreach (int index in _flushing)
        {
            int rank = _operations[index].Peer!.Place.Rank;
            if (_flushed[rank] == _round)
                continue;
            _flushed[rank] = _round;
            _flushErrors[rank] = _library.Calls.MPI_Win_flush(rank, _job.Window);
        }
        foreach (int index in _flushing)
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
        _flushing.Clear();
        return true;
    }

    private int SendNotification(int index, ulong number)
    {
        ref MpiOperation operation = ref _operations[index];
        operation.Stage = MpiStage.Notification;
        _numbers[index] = number;
        return Send(index, &_numbers[index], sizeof(ulong), MpiKind.Notification, operation.Peer!);
    }

    /// <summary>Reports one; its object may be another operation's when this returns.</summary>
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

    /// <summary>What has arrived and was not received.</summary>
    private List<MpiArrival> TakeLeft()
    {
        List<MpiArrival> left = _receives.TakeArrived();
        while (_arrived.TryDequeue(out MpiArrival arrival))
            left.Add(arrival);
        return left;
    }

    /// <summary>What MPI does for an operation.</summary>
    private enum MpiStage
    {
        None = 0,
        Receive = 1,
        Receiving = 2,
        Send = 3,
        Write = 4,
        Notification = 5,
        Read = 6,
    }

    /// <summary>Whether a message is to be taken back, and what its peer says of that.</summary>
    private enum MpiRecall
    {
        None = 0,
        Asked = 1,

        /// <summary>MPI says that it was received, or dropped; the peer has yet to say which.</summary>
        AskedAndDone = 2,
        Dropped = 3,
        Kept = 4,
    }

    private struct MpiOperation
    {
        public MpiStage Stage;
        public MpiRecall Recall;
        public MpiPeer? Peer;
        public nint Address;

        /// <summary>Where a message goes that is longer than its receive.</summary>
        public nint Room;
        public long Length;
        public ulong Number;
        public ulong? Notification;
    }
}
