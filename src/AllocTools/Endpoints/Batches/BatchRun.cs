using System.Threading.Tasks.Sources;
using AllocTools.Endpoints.Drivers;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints.Batches;

/// <summary>Runs a batch, one run at a time: posts its operations, and ends when all posted operations have ended.</summary>
/// <remarks>
/// The next operations are posted by the thread that starts the run, and by the threads that end its operations, one
/// thread at a time. One word counts both the remaining operations and the requests to post more. The first thread to
/// request posts for all, and stops when there are no new requests. If no operations are left then, it ends the run. So
/// the end of an operation costs one addition, and threads that were not the first don't touch the run afterwards.
/// The next operation, and with it the run, may have to wait in one of two places: in the queue if the transport accepts
/// nothing, or for a slot if all are used by others. Then it is <see cref="_heldUp"/>, which also counts as remaining,
/// and is cleared by the thread that finds it gone from there. If a slot is missing while other operations of the run
/// are outstanding, their ends request posting.
/// FI_MORE is a promise: a provider may send nothing until an operation without the flag is posted. The flag is
/// therefore set only if the next operation has its slot and uses the same queue. That operation is then posted even if
/// another one has failed meanwhile. If the transport refuses it, the provider sends the waiting ones (fi_msg(3), since
/// libfabric 2.5); for older versions, one more operation is posted.
/// </remarks>
internal sealed class BatchRun : IValueTaskSource, IAwaited
{
    /// <summary>One request to post more operations. The lower bits count the remaining operations.</summary>
    private const long Ask = 1L << 32;

    private const long None = -1;

    /// <summary>The maximum number of posts in a turn, so that a turn ends under any load, as with completions.</summary>
    private const int MostPostsPerTurn = 1024;

    private static readonly Action<object?> CancelCallback = static run => ((BatchRun)run!).RequestCancel();

    private readonly OperationStarter _starter;
    private readonly Lock _failureGate = new();
    private ManualResetValueTaskSourceCore<bool> _task;
    private Awaiting _awaiting;
    private CancellationTokenRegistration _cancellation;
    private volatile bool _cancelRequested;
    private int _isRunning;
    private int _runs;

    // The remaining operations and the requests to post.
    private long _word;
    private long _heldUp = None;

    // Used only by the posting thread.
    private int _next;
    private int _followed;
    private int _left;
    private long _started;

    // Guarded by the gate while the run is in progress.
    private Exception? _error;
    private int _errorIndex;
    private int _failures;
    private volatile bool _hasFailed;

    public BatchRun(OperationStarter starter, int capacity)
    {
        _starter = starter;
        _awaiting = new Awaiting(starter, starter.RunsInline);
        _task = _awaiting.CreateTask<bool>();
        List = new BatchList(capacity);
    }

    public BatchList List { get; }

    public short Version => _task.Version;

    /// <summary>The timestamp at which the run times out; <see cref="long.MaxValue"/> for never.</summary>
    public long Deadline { get; private set; }

    public CancellationToken CancellationToken { get; private set; }

    public bool IsCancelRequested => _cancelRequested;

    /// <summary>Returns the index of a ticket's operation. A ticket also contains the number of the run.</summary>
    public static int IndexOf(long ticket) => (int)ticket;

    /// <exception cref="InvalidOperationException">The batch is running, or its last run was not awaited.</exception>
    public void ThrowIfRunning()
    {
        if (Volatile.Read(ref _isRunning) != 0)
            ThrowRunning();
    }

    /// <summary>Starts a run. Called by a caller of the endpoint.</summary>
    /// <exception cref="InvalidOperationException">The batch is already running, or a buffer was returned.</exception>
    public void Start(long started, long deadline, CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _isRunning, 1) != 0)
            ThrowRunning();
        try
        {
            List.Hold();
        }
        catch
        {
            Volatile.Write(ref _isRunning, 0);
            throw;
        }
        _awaiting.Begin(_task.Version);
        _runs++;
        _next = 0;
        _followed = 0;
        _left = 0;
        _started = started;
        _error = null;
        _failures = 0;
        _hasFailed = false;
        Deadline = deadline;
        CancellationToken = cancellationToken;
        _cancelRequested = false;
        _cancellation = cancellationToken.CanBeCanceled ? cancellationToken.UnsafeRegister(CancelCallback, this) : default;
        Serve(Ask + List.Count, inTurn: false);
    }

    /// <summary>
    /// Called when one of the run's operations has succeeded and its slot is free. The caller must hold the progress turn,
    /// or post for this run.
    /// </summary>
    public void OnSucceeded() => Serve(Ask - 1, inTurn: true);

    /// <summary>Called when one of the run's operations has failed. Any thread may call this.</summary>
    public void OnFailed(long ticket, Exception error)
    {
        NoteFailure(IndexOf(ticket), error);
        bool wasHeldUp = TryTakeHeldUp(ticket);
        Serve(Ask - (wasHeldUp ? 2 : 1), inTurn: false);
    }

    /// <summary>Called when an operation has left the queue, because it was posted or has ended. The caller must hold the progress turn.</summary>
    public void OnLeftQueue(long ticket)
    {
        if (TryTakeHeldUp(ticket))
            Serve(Ask - 1, inTurn: true);
    }

    /// <summary>Returns the resources of an operation that may end after the run. The run must still have an operation left.</summary>
    public RmaHold HoldAgain(long ticket, out RemoteRegion? region)
    {
        int index = IndexOf(ticket);
        region = List.Entries[index].Region;
        region?.AddUseAgain();
        return List.HoldAgain(index);
    }

    /// <inheritdoc cref="OperationSlot.GetStatus"/>
    public ValueTaskSourceStatus GetStatus(short token)
    {
        ValueTaskSourceStatus status = _task.GetStatus(token);
        return status == ValueTaskSourceStatus.Pending && _awaiting.TryBeginHelp() && _starter.TryEnd(this, token) ? _task.GetStatus(token) : status;
    }

    bool IAwaited.HasEnded(short token) => _task.GetStatus(token) != ValueTaskSourceStatus.Pending;

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        // This throws for a token of an earlier run, before anything is counted.
        _task.GetStatus(token);
        _awaiting.OnCompleted(ref _task, continuation, state, token, flags);
    }

    public void GetResult(short token)
    {
        // This throws for a token of an earlier run, and if the result is not available yet, before the next run may begin.
        if (_task.GetStatus(token) == ValueTaskSourceStatus.Pending)
            throw new InvalidOperationException("The batch has not completed. Await its ValueTask, once; turn it into a Task with AsTask() to block on it.");
        if (!_awaiting.TryEnd(token))
            throw new InvalidOperationException("The ValueTask of this run was awaited before. Await it once; to await it several times turn it into a Task with AsTask() first.");
        try
        {
            _task.GetResult(token);
        }
        finally
        {
            // From here on, a second await of the same task throws.
            _task.Reset();
            Volatile.Write(ref _isRunning, 0);
        }
    }

    private static void ThrowRunning() =>
        throw new InvalidOperationException("The batch runs, or its last run was not awaited. Await the ValueTask of RunAsync before the batch is changed or run again; for runs at the same time make several batches.");

    private void RequestCancel()
    {
        _cancelRequested = true;
        _starter.OnCancelRequested();
    }

    private void Serve(long change, bool inTurn)
    {
        long word = Interlocked.Add(ref _word, change);
        if (word >> 32 != 1)
            return;
        while (true)
        {
            Post(inTurn);
            long now = Volatile.Read(ref _word);
            // Meanwhile, operations may also end, or be posted by a turn, which changes the count.
            while (now >> 32 == word >> 32)
            {
                long before = Interlocked.CompareExchange(ref _word, (uint)now, now);
                if (before == now)
                {
                    if ((uint)now == 0)
                        End();
                    return;
                }
                now = before;
            }
            word = now;
        }
    }

    /// <summary>Posts as many operations as there are slots for and the transport accepts.</summary>
    private void Post(bool inTurn)
    {
        ReadOnlySpan<BatchEntry> entries = List.Entries;
        OperationSlot? slot = null;
        // Whether the last operation was posted with FI_MORE.
        bool isOwed = false;
        int posts = 0;
        while (_next < entries.Length)
        {
            bool mustStop = MustStop();
            if (mustStop && !isOwed)
            {
                if (slot is not null)
                    _starter.FreeSlot(slot);
                Stop(entries.Length);
                return;
            }
            if (Volatile.Read(ref _heldUp) != None)
                return;
            if (entries[_next].IsEmptyTransfer)
            {
                _starter.CountEmpty(entries[_next++].Kind);
                Interlocked.Decrement(ref _word);
                continue;
            }
            if (slot is null && !_starter.TryTakeSlot(out slot))
            {
                WaitForSlot(entries.Length);
                return;
            }
            OperationSlot? following = null;
            _followed = MayFollow(entries, _next + 1) && _starter.TryTakeSlot(out following) ? _followed + 1 : 0;
            RmaPostStatus status = Post(slot, entries[_next++], hasMore: following is not null, isPromised: isOwed, inTurn, isLate: inTurn && posts++ == MostPostsPerTurn);
            if (status == RmaPostStatus.Full)
            {
                if (following is not null)
                    _starter.FreeSlot(following);
                return;
            }
            // A refused operation promises nothing, but the promise before it still holds for one more operation.
            isOwed = status == RmaPostStatus.Refused ? isOwed && !mustStop && SharesQueue(entries, _next) : following is not null;
            slot = following;
        }
    }

    /// <summary>Whether the next operation is certain to follow immediately, to the same queue of the transport.</summary>
    private bool MayFollow(ReadOnlySpan<BatchEntry> entries, int index)
    {
        if (index >= entries.Length || _followed >= _starter.MaxFollowed || MustStop() || _starter.IsClosed)
            return false;
        ref readonly BatchEntry one = ref entries[index - 1];
        return SharesQueue(entries, index) && !entries[index].IsEmptyTransfer && one.Notification is null && one.Length <= _starter.LongestPart;
    }

    /// <summary>
    /// Whether an operation uses the same queue of the transport as the one before it, so that posting it flushes that
    /// one.
    /// </summary>
    private static bool SharesQueue(ReadOnlySpan<BatchEntry> entries, int index) =>
        index < entries.Length && entries[index - 1].Kind == entries[index].Kind && entries[index - 1].Peer == entries[index].Peer;

    /// <returns>The result; <see cref="RmaPostStatus.Full"/> if the operation is in the queue now.</returns>
    private RmaPostStatus Post(OperationSlot slot, in BatchEntry entry, bool hasMore, bool isPromised, bool inTurn, bool isLate)
    {
        long ticket = TicketOf(_next - 1);
        slot.Prepare(entry, this, ticket, hasMore, _starter.StartOfBatched(_started));
        if (!_starter.TryAdmit(slot, entry, isPromised, out Exception? reason))
        {
            // Otherwise the operation has already ended, and reports that itself.
            if (reason is not null)
            {
                NoteFailure(_next - 1, reason);
                Interlocked.Decrement(ref _word);
            }
            return RmaPostStatus.Refused;
        }
        long use = slot.Use;
        RmaPostStatus status = isLate ? RmaPostStatus.Full : _starter.Progress.Dispatch.PostOfBatch(slot, inTurn);
        if (status == RmaPostStatus.Full)
        {
            // Marked first, because a turn may post it immediately.
            HoldUp(ticket);
            // The operation may have ended even before it was marked as held up.
            if (!_starter.Progress.Dispatch.Queue(slot, use) && TryTakeHeldUp(ticket))
                Interlocked.Decrement(ref _word);
        }
        return status;
    }

    /// <summary>
    /// Handles the case that no slot is free. If operations of the run are outstanding, their ends request posting;
    /// otherwise the run waits in line like a single operation.
    /// </summary>
    private void WaitForSlot(int count)
    {
        if ((uint)Volatile.Read(ref _word) > count - _next)
            return;
        long ticket = TicketOf(_next++);
        HoldUp(ticket);
        _starter.StartLater(this, ticket, _started);
    }

    private bool MustStop() => _hasFailed || _cancelRequested;

    /// <summary>Skips the remaining operations, after a failure or a cancellation.</summary>
    private void Stop(int count)
    {
        if (!_hasFailed)
        {
            NoteFailure(_next++, new OperationCanceledException(CancellationToken));
            Interlocked.Decrement(ref _word);
        }
        _left = count - _next;
        _next = count;
        Interlocked.Add(ref _word, -_left);
    }

    private void HoldUp(long ticket)
    {
        Interlocked.Increment(ref _word);
        Volatile.Write(ref _heldUp, ticket);
    }

    private bool TryTakeHeldUp(long ticket) => Interlocked.CompareExchange(ref _heldUp, None, ticket) == ticket;

    private long TicketOf(int index) => ((long)(_runs & int.MaxValue) << 32) | (uint)index;

    private void NoteFailure(int index, Exception error)
    {
        lock (_failureGate)
        {
            _failures++;
            if (_error is null || index < _errorIndex)
            {
                _error = error;
                _errorIndex = index;
            }
        }
        _hasFailed = true;
    }

    private void End()
    {
        // This waits for a running callback, which must not affect the next run.
        _cancellation.Dispose();
        // Released before the awaiting code continues, because that code may return the buffers immediately.
        List.LetGo();
        if (_error is null)
            _task.SetResult(true);
        else
            _task.SetException(_error is OperationCanceledException ? _error : Failure(_error));
    }

    private RmaBatchException Failure(Exception error)
    {
        int completed = List.Count - _left - _failures;
        string rest = _failures > 1 ? $" {_failures - 1} more have failed." : "";
        return new RmaBatchException(
            $"Operation {_errorIndex} of a batch of {List.Count} failed: {error.Message}{rest} {completed} have completed, {_left} were not started.",
            _errorIndex,
            completed,
            error);
    }
}
