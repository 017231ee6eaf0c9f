using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using AllocTools.Regions;

namespace AllocTools.Mpi;

/// <summary>The MPI part of an endpoint.</summary>
/// <remarks>
/// <para>
/// A write is MPI_Put, or MPI_Rput if it is long: when either completes, the data has left its buffer, but may not
/// have reached the target. So the progress turn that finds completed writes calls MPI_Win_flush, once for each rank
/// regardless of the number of writes to it, and only then reports them. The flush waits for the target, so only the
/// endpoint's own thread, which is monitored, calls MPI.
/// </para>
/// <para>
/// A send is MPI_Issend, which completes once a receive has taken the message: unreceived messages stay with their
/// sender, and never accumulate at the target. MPI can't cancel a send, so the target is asked to drop the message
/// (<see cref="MpiWord.Recall"/>). Receives are not passed to MPI before their message has arrived, so they can be
/// cancelled immediately. A write's notification follows its flush as a separate message.
/// </para>
/// </remarks>
internal sealed unsafe partial class MpiDriver : RmaEndpointDriver
{
    /// <summary>Longer writes have a request, so that the flush need not wait while they are transferred.</summary>
    private const long LongestWithoutRequest = 16 << 10;

    /// <summary>The number of consecutive successful turns after which the next one checks for arrived messages.</summary>
    private const int MostTurnsWithoutLook = 16;

    private const string ClosedReason = "its endpoint was closed";
    private const int Canceled = 125;

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
    private readonly ConcurrentDictionary<MpiPlace, MpiFlow> _flows = new();
    private readonly ConcurrentQueue<MpiArrival> _arrived = new();
    // These peers have greeted this endpoint, and not an earlier one with its number. The set is used inside the router.
    private readonly HashSet<MpiPlace> _senders = [];
    // A report may throw or post, so entries are removed only after they were reported.
    private readonly Queue<int> _written = new();
    private readonly Queue<int> _flushing = new();
    private readonly Queue<(int Index, int Error)> _ended = new();
    private ulong _lastPeer;
    private int _found;
    private int _read;
    private int _round;
    private int _turnsWithoutLook;
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
        _address = new MpiAddress(job.Number, job.Rank, job.Size, job.Router.HighestNumber, traits.ProviderName);
        _bytes = _address.Compose(_number);
        _requests = new MpiRequests(_library, maxOutstanding);
        _numbers = (ulong*)NativeMemory.Alloc((nuint)maxOutstanding, sizeof(ulong));
    }

    public override ReadOnlyMemory<byte> Address => _bytes;

    public override bool PostsBesideProgress => false;

    public override bool MayHangOnDeadPeers => true;

    /// <summary>Closing does not make MPI drop its operations.</summary>
    public override bool MustRecallBeforeClosing => true;

    /// <summary>Whether a thread is in a call into MPI.</summary>
    public bool IsInCall => Volatile.Read(ref _depth) > 0;

    public override RmaDriverPeer OpenPeer(ReadOnlySpan<byte> address)
    {
        MpiPlace place = _address.Parse(address);
        byte[] own = address.ToArray();
        // A different address belongs to a different endpoint, which has reused the number of a closed one.
        MpiFlow flow = _flows.AddOrUpdate(
            place,
            static (_, to) => new MpiFlow(to),
            static (_, before, to) => before.To.AsSpan().SequenceEqual(to) ? before : new MpiFlow(to),
            own);
        return new MpiPeer(own, place, flow);
    }

    public override ulong InsertPeer(RmaDriverPeer peer) => ++_lastPeer;

    protected internal override void OnPeerInserted(RmaDriverPeer peer)
    {
        var own = (MpiPeer)peer;
        _peers[own.Place] = own;
    }

    protected internal override void OnPeerRemoved(RmaDriverPeer peer) => _peers.TryRemove(new KeyValuePair<MpiPlace, MpiPeer>(((MpiPeer)peer).Place, (MpiPeer)peer));

    public override RmaReadResult ReadCompletions(RmaDriverCompletions completions, bool clearSignal)
    {
        if (!TryEnter())
            return RmaReadResult.Nothing;
        try
        {
            bool happened = ReportEnded(completions);
            happened |= ReadRequests(completions);
            happened |= Flush(completions);
            // Checking for arrivals costs as much as a short write; after a successful turn it can wait for some turns.
            if (!happened || ++_turnsWithoutLook == MostTurnsWithoutLook)
            {
                _turnsWithoutLook = 0;
                happened |= _job.Router.Poll();
            }
            happened |= TakeArrived(completions);
            return happened ? RmaReadResult.Something : RmaReadResult.Nothing;
        }
        finally
        {
            LeaveTurn();
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
            else if (own.Stage == MpiStage.Send && own.Recall == MpiRecall.None && !own.IsLost)
            {
                if (_job.Router.Say(MpiWord.Recall, own.Number, _number, own.Peer!.Place) == MpiConstants.MPI_SUCCESS)
                    own.Recall = MpiRecall.Asked;
            }
        }
        finally
        {
            LeaveTurn();
        }
    }

    public override string? FindLoss(RmaDriverOperation operation, int error) => error == MpiErrors.ConnectionReset ? ClosedReason : null;

    public override string NameOf(int error) => MpiErrors.NameOf(_library, error);

    public override string TextOf(int error) => error == MpiErrors.ConnectionReset ? ClosedReason : MpiErrors.TextOf(_library, error);

    public override string? ExplainTimeout(RmaDriverOperation operation, bool wasPosted) =>
        wasPosted && operation.Kind == RmaOperationKind.Send ? "the peer has posted no receive for it, or makes no progress. " : null;

    public override string ExplainStuckCall() => _library.IsOpenMpi
        ? "a flush waits for a rank that is stopped, or whose network does not answer"
        : "a flush waits for a rank that is stopped, or that has not called into MPI for that long";

    public override bool Close(bool isRecalled)
    {
        MpiLeftover? leftover = null;
        // Writes that MPI has completed, but no turn has processed, are not flushed either.
        int[] read = [.. _done.Take(_read.._found).Where(i => _operations[i].Stage == MpiStage.Write)];
        if (!isRecalled && (_requests.Count > 0 || _written.Count > 0 || _flushing.Count > 0 || read.Length > 0))
        {
            int[] ranks = [.. _written.Concat(_flushing).Concat(read).Select(i => _operations[i].Peer!.Place.Rank).Distinct()];
            leftover = new MpiLeftover(_job, _requests, ranks, Free);
        }
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

    /// <summary>Called inside the router when a message has arrived.</summary>
    /// <returns>False if the message is for another endpoint, which had this number before and is closed.</returns>
    public bool TryTake(in MpiArrival arrival)
    {
        if (arrival.Kind != MpiKind.Word && !_senders.Contains(arrival.From))
            return false;
        if (arrival.Kind == MpiKind.Word && arrival.Word == MpiWord.Hello)
        {
            if (arrival.Number == MpiAddress.IdentityOf(_bytes))
                _senders.Add(arrival.From);
            else
                _senders.Remove(arrival.From);
        }
        _arrived.Enqueue(arrival);
        Wake();
        return true;
    }

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
        foreach (ref MpiOperation operation in _operations.AsSpan())
        {
            NativeMemory.Free((void*)operation.Room);
            operation = default;
        }
        done?.Invoke();
    }

    /// <summary>
    /// Begins a call into MPI. Returns false if the process is about to finalize MPI while endpoints are still open:
    /// then no new call may begin, and running calls are awaited. The caller must hold the progress turn.
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

    /// <summary>Ends a call. Threads that wait for calls to return then see what this thread has done.</summary>
    private void LeaveTurn() => Volatile.Write(ref _depth, _depth - 1);

    /// <summary>Takes the messages that have arrived but were not received.</summary>
    private List<MpiArrival> TakeLeft()
    {
        List<MpiArrival> left = _receives.TakeArrived();
        while (_arrived.TryDequeue(out MpiArrival arrival))
            left.Add(arrival);
        return left;
    }
}
