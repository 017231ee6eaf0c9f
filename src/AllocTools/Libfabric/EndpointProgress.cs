using AllocTools.Diagnostics;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Posts operations, reads their completions, and ends what is overdue or cancelled.</summary>
/// <remarks>
/// Posting is anybody's. Everything else is done by whoever has the turn, one at a time. A completion can be read before
/// the call that posted its operation has returned, so a poster does not touch a slot any more once the transport took
/// it. What timed out stays in its slot, its buffer quarantined, until its completion comes or the endpoint is closed.
/// </remarks>
internal sealed unsafe class EndpointProgress
{
    private const int BatchSize = 64;

    /// <summary>How long an await goes on after cancelling, for the transport to say whether it gave up.</summary>
    public static readonly TimeSpan CancelGrace = TimeSpan.FromMilliseconds(100);

    private readonly LibfabricContext _context;
    private readonly EndpointHandle _endpoint;
    private readonly CqHandle _queue;
    private readonly OperationSlot[] _slots;
    private readonly fi_context2* _contexts;
    private readonly CompletionRing _completions;
    private readonly TimeProvider _time;
    private readonly RetryQueue _retries = new();

    // Used by the turn's holder only, and empty between turns.
    private readonly List<OperationSlot> _round = [];
    private readonly HashSet<ulong> _full = [];
    private readonly OperationPoster _poster;
    private readonly long _cancelGrace;
    private readonly string _provider;
    private readonly bool _receivesTakeTurn;
    private int _turn;
    private long _nextDeadline = long.MaxValue;
    private int _cancelNoted;

    public EndpointProgress(
        LibfabricContext context, LibfabricEndpointResources resources, OperationSlot[] slots, fi_context2* contexts, CompletionRing completions, TimeProvider time)
    {
        _context = context;
        _endpoint = resources.Endpoint;
        _queue = resources.Queue;
        _slots = slots;
        _contexts = contexts;
        _completions = completions;
        _time = time;
        _poster = new OperationPoster(resources.Endpoint, context.Traits, contexts);
        _provider = context.Traits.ProviderName;
        _receivesTakeTurn = _provider == "shm" && context.Library.Version.Major == 1;
        _cancelGrace = (long)(CancelGrace.TotalSeconds * time.TimestampFrequency);
    }

    /// <summary>Why progress is impossible; null where it isn't.</summary>
    public RmaException? Failure { get; private set; }

    /// <summary>Something waits to be posted, and needs turns to get on.</summary>
    public bool HasRetries => !_retries.IsEmpty;

    /// <summary>The earliest time at which something may be overdue, as a timestamp.</summary>
    public long NextDeadline => Volatile.Read(ref _nextDeadline);

    public void NoteDeadline(long deadline)
    {
        long seen = Volatile.Read(ref _nextDeadline);
        while (deadline < seen)
        {
            long before = Interlocked.CompareExchange(ref _nextDeadline, deadline, seen);
            if (before == seen)
                return;
            seen = before;
        }
    }

    public void NoteCancel() => Interlocked.Exchange(ref _cancelNoted, 1);

    /// <summary>Posts an operation with a task; whatever becomes of it, the task says.</summary>
    public void Post(OperationSlot slot)
    {
        // Its completion may free the slot before that call returns; from a success on it is not ours.
        nint status = _retries.HoldsUp(slot.Peer) ? -FiErrno.FI_EAGAIN : PostOutsideTurn(slot);
        if (status == 0)
            return;
        if (status == -FiErrno.FI_EAGAIN)
        {
            if (slot.TryChange(OperationState.Posted, OperationState.Queued))
                _retries.Add(slot);
            else
                LeaveToTurn(slot);
            return;
        }
        FailUnposted(slot, (int)status);
    }

    /// <summary>Queues an operation with a task that had to wait for its slot: it is posted in its order, by a turn.</summary>
    public void Queue(OperationSlot slot)
    {
        slot.State = OperationState.Queued;
        _retries.Add(slot);
    }

    /// <summary>Posts an operation without a task.</summary>
    /// <returns>False where the transport would not take it; the slot is free again.</returns>
    public bool TryPost(OperationSlot slot)
    {
        RmaOperationKind kind = slot.Kind;
        long length = slot.Length;
        nint status = _retries.HoldsUp(slot.Peer) ? -FiErrno.FI_EAGAIN : PostOutsideTurn(slot);
        if (status == 0)
            return true;
        if (!slot.TryChange(OperationState.Posted, OperationState.Abandoned))
        {
            LeaveToTurn(slot);
            return true;
        }
        slot.ReleaseByFabric();
        return status == -FiErrno.FI_EAGAIN ? false : throw LibfabricErrors.Operation(_context.Library, _provider, kind, length, (int)status);
    }

    /// <summary>Makes progress, where nobody else does.</summary>
    /// <returns>True when anything happened.</returns>
    public bool TryRun()
    {
        if (Interlocked.CompareExchange(ref _turn, 1, 0) != 0)
            return false;
        try
        {
            bool happened = ReadQueue();
            if (HasRetries)
                happened |= PostRetries();
            if (Volatile.Read(ref _cancelNoted) != 0)
                CancelNoted();
            long now = _time.GetTimestamp();
            if (now >= NextDeadline)
                EndOverdue(now);
            return happened;
        }
        finally
        {
            Volatile.Write(ref _turn, 0);
        }
    }

    /// <summary>Progress is impossible from now on: ends what is outstanding, and refuses what comes.</summary>
    public void Break(RmaException failure)
    {
        Failure = failure;
        foreach (OperationSlot slot in _slots)
        {
            if (slot.State == OperationState.Posted)
                AbandonPosted(slot, failure);
            else if (slot.State == OperationState.Queued && _retries.Remove(slot))
                EndUnposted(slot, failure);
        }
    }

    /// <summary>Ends everything that is outstanding, after the endpoint was closed and nobody has a turn any more.</summary>
    /// <param name="fabricIsDone">The native endpoint is closed, so the fabric touches no memory any more. Else what was posted stays held.</param>
    public void FailAll(bool fabricIsDone)
    {
        foreach (OperationSlot slot in _slots)
        {
            OperationState state = slot.State;
            if (state == OperationState.Free)
                continue;
            bool done = fabricIsDone || state is OperationState.Queued or OperationState.Unposted;
            if (state is OperationState.Posted or OperationState.Queued)
            {
                if (done)
                    slot.EndHold();
                else
                    slot.Quarantine();
                slot.State = OperationState.Abandoned;
                if (slot.HasTask)
                    slot.SetException(LibfabricErrors.EndpointClosed(_provider, slot.Kind, slot.Length));
            }
            if (done)
                slot.ReleaseByFabric();
        }
    }

    /// <summary>
    /// Posts from any thread. shm of libfabric 1.x looks for a receive and queues an unexpected message in two steps: a
    /// receive that is posted between them, while another thread makes progress, never meets its message. There,
    /// receives take the turn.
    /// </summary>
    private nint PostOutsideTurn(OperationSlot slot)
    {
        if (!_receivesTakeTurn || slot.Kind != RmaOperationKind.Receive)
            return _poster.Post(slot);
        SpinWait spin = default;
        while (Interlocked.CompareExchange(ref _turn, 1, 0) != 0)
            spin.SpinOnce(sleep1Threshold: -1);
        try
        {
            return _poster.Post(slot);
        }
        finally
        {
            Volatile.Write(ref _turn, 0);
        }
    }

    private bool ReadQueue()
    {
        fi_cq_msg_entry* entries = stackalloc fi_cq_msg_entry[BatchSize];
        bool happened = false;
        while (true)
        {
            nint read = _queue.Read(entries, BatchSize);
            if (read > 0)
            {
                for (int i = 0; i < read; i++)
                    OnCompletion(entries[i].op_context, (long)entries[i].len);
                happened = true;
                if (read < BatchSize)
                    return true;
            }
            else if (read == -FiErrno.FI_EAVAIL)
            {
                ReadError();
                happened = true;
            }
            else if (read == -FiErrno.FI_EAGAIN || read == -FiErrno.FI_EINTR || read == 0)
            {
                return happened;
            }
            else
            {
                throw LibfabricErrors.Provider(_context.Library, _provider, "fi_cq_read", (int)read);
            }
        }
    }

    private void ReadError()
    {
        fi_cq_err_entry entry = default;
        nint read = _queue.ReadErr(&entry, 0);
        if (read == -FiErrno.FI_EAGAIN)
            return;
        if (read < 0)
            throw LibfabricErrors.Provider(_context.Library, _provider, "fi_cq_readerr", (int)read);
        if (FindSlot(entry.op_context) is not { State: OperationState.Posted or OperationState.Abandoned } slot)
            return;
        // shm of 1.17 gives negative codes; an error entry without a code is one all the same.
        int error = entry.err == 0 ? FiErrno.FI_EIO : Math.Abs(entry.err);
        bool wasGivenUp = error == FiErrno.FI_ECANCELED && slot.CancelSent;
        if (wasGivenUp && !slot.CancelRequested)
            error = FiErrno.FI_ETIMEDOUT;
        if (slot.State == OperationState.Abandoned)
        {
            slot.ReleaseByFabric();
            return;
        }
        if (!slot.HasTask)
        {
            RmaCompletion completion = new(slot.Context, slot.Kind, 0, error);
            slot.ReleaseByFabric();
            _completions.Add(completion);
            return;
        }
        Exception failure = wasGivenUp
            ? OverdueError(slot, wasPosted: false)
            : LibfabricErrors.Operation(
                _context.Library, _provider, slot.Kind, slot.Length, error, entry.prov_errno != 0 ? _queue.StrError(entry.prov_errno, entry.err_data) : "");
        slot.EndHold();
        slot.SetException(failure);
        slot.ReleaseByFabric();
    }

    private void OnCompletion(void* context, long length)
    {
        // A peer's write with data completes here without an operation of ours; a completion may come twice.
        if (FindSlot(context) is not { State: OperationState.Posted or OperationState.Abandoned } slot)
            return;
        if (slot.State == OperationState.Abandoned)
        {
            slot.ReleaseByFabric();
            return;
        }
        slot.Transferred += slot.Kind == RmaOperationKind.Receive ? length : slot.PartLength;
        if (slot.Kind != RmaOperationKind.Receive && slot.Transferred < slot.Length)
        {
            PostNextPart(slot);
            return;
        }
        long transferred = slot.Transferred;
        if (slot.HasTask)
        {
            // The hold first: whoever awaits may return the buffer at once.
            slot.EndHold();
            slot.SetResult(transferred);
            slot.ReleaseByFabric();
        }
        else
        {
            RmaCompletion completion = new(slot.Context, slot.Kind, transferred, 0);
            slot.ReleaseByFabric();
            _completions.Add(completion);
        }
    }

    private void PostNextPart(OperationSlot slot)
    {
        nint status = _poster.Post(slot);
        if (status == 0)
            return;
        if (status == -FiErrno.FI_EAGAIN)
        {
            slot.State = OperationState.Queued;
            _retries.AddFirst(slot);
        }
        else
        {
            FailUnposted(slot, (int)status);
        }
    }

    private bool PostRetries()
    {
        bool happened = false;
        _retries.CopyTo(_round);
        foreach (OperationSlot slot in _round)
        {
            if (_full.Contains(slot.Peer))
                continue;
            slot.State = OperationState.Posted;
            nint status = _poster.Post(slot);
            if (status == -FiErrno.FI_EAGAIN)
            {
                // The peer's later ones must not overtake it; other peers may have room.
                slot.State = OperationState.Queued;
                _full.Add(slot.Peer);
                continue;
            }
            happened = true;
            // Its place is given up only now; nobody but the turn's holder frees a slot that was posted.
            _retries.Remove(slot);
            if (status != 0)
                FailUnposted(slot, (int)status);
        }
        _round.Clear();
        _full.Clear();
        return happened;
    }

    private void CancelNoted()
    {
        // A full fence: a request that this round does not see notes itself after it.
        Interlocked.Exchange(ref _cancelNoted, 0);
        long now = _time.GetTimestamp();
        foreach (OperationSlot slot in _slots)
        {
            if (slot.State is not (OperationState.Posted or OperationState.Queued) || !slot.CancelRequested || slot.CancelSent)
                continue;
            slot.CancelSent = true;
            slot.Deadline = Math.Min(slot.Deadline, slot.State == OperationState.Queued ? now : now + _cancelGrace);
            NoteDeadline(slot.Deadline);
            if (slot.State == OperationState.Posted)
                _endpoint.Cancel(&_contexts[slot.Index]);
        }
    }

    private void EndOverdue(long now)
    {
        // A full fence: an operation that this round does not see as posted notes its deadline after it.
        Interlocked.Exchange(ref _nextDeadline, long.MaxValue);
        foreach (OperationSlot slot in _slots)
        {
            OperationState state = slot.State;
            if (state == OperationState.Unposted)
                slot.ReleaseByFabric();
            if (state is not (OperationState.Posted or OperationState.Queued))
                continue;
            if (slot.Deadline > now)
            {
                NoteDeadline(slot.Deadline);
                continue;
            }
            if (state == OperationState.Queued)
            {
                // Not there yet: its poster is between the change of state and the queue. Next time.
                if (!_retries.Remove(slot))
                {
                    NoteDeadline(now);
                    continue;
                }
                EndUnposted(slot, OverdueError(slot, wasPosted: false));
            }
            else
            {
                EndPostedOverdue(slot, now);
            }
        }
    }

    /// <summary>
    /// Asks the transport to give the operation up, and abandons it after the grace. A receive that stayed posted would
    /// swallow a later message.
    /// </summary>
    private void EndPostedOverdue(OperationSlot slot, long now)
    {
        if (slot.CancelSent)
        {
            AbandonPosted(slot, OverdueError(slot, wasPosted: true));
            return;
        }
        slot.CancelSent = true;
        slot.Deadline = now + _cancelGrace;
        NoteDeadline(slot.Deadline);
        _endpoint.Cancel(&_contexts[slot.Index]);
    }

    private void EndUnposted(OperationSlot slot, Exception error)
    {
        slot.EndHold();
        Tell(slot, error);
        slot.ReleaseByFabric();
    }

    private void AbandonPosted(OperationSlot slot, Exception error)
    {
        // Its poster may be taking it back at this moment: then it is in the retry queue next time.
        if (!slot.TryChange(OperationState.Posted, OperationState.Abandoned))
        {
            NoteDeadline(long.MinValue);
            return;
        }
        // First: whoever is told may return the buffer at once.
        slot.Quarantine();
        Tell(slot, error);
    }

    private void Tell(OperationSlot slot, Exception error)
    {
        if (slot.HasTask)
            slot.SetException(error);
        else
            _completions.Add(new RmaCompletion(slot.Context, slot.Kind, 0, error is RmaException { ErrorCode: > 0 and int code } ? code : FiErrno.FI_EIO));
    }

    private void LeaveToTurn(OperationSlot slot)
    {
        slot.State = OperationState.Unposted;
        NoteDeadline(long.MinValue);
    }

    private Exception OverdueError(OperationSlot slot, bool wasPosted) => slot.CancelRequested
        ? new OperationCanceledException(slot.CancellationToken)
        : LibfabricErrors.Timeout(_provider, slot.Kind, slot.Length, _time.GetElapsedTime(slot.Started, slot.TimeLimit), wasPosted);

    /// <summary>Ends an operation that the transport refused, whoever has the turn.</summary>
    private void FailUnposted(OperationSlot slot, int status)
    {
        Exception error = LibfabricErrors.Operation(_context.Library, _provider, slot.Kind, slot.Length, status);
        if (!slot.TryChange(OperationState.Posted, OperationState.Abandoned))
        {
            LeaveToTurn(slot);
            return;
        }
        EndUnposted(slot, error);
    }

    private OperationSlot? FindSlot(void* context)
    {
        nint offset = (nint)context - (nint)_contexts;
        return offset >= 0 && offset < (nint)_slots.Length * sizeof(fi_context2) ? _slots[offset / sizeof(fi_context2)] : null;
    }
}
