using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Threading.Tasks.Sources;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>One outstanding operation. Slots are made once and used again, so that an operation allocates nothing.</summary>
/// <remarks>
/// A slot has two users: the fabric, until the completion was read or is known never to come, and whoever awaits the
/// task, until the result was taken. The second to let go frees it. An operation without a task, and one of a batch, has the
/// first only.
/// Its state is changed by the named transitions in OperationState.cs only. Who acts on a slot has changed its state first;
/// all else it holds is written before it is posted.
/// </remarks>
internal sealed partial class OperationSlot : RmaDriverOperation, IValueTaskSource, IValueTaskSource<RmaReceiveResult>, IAwaited
{
    private static readonly Action<object?> CancelCallback = static slot => ((OperationSlot)slot!).RequestCancel();

    private readonly OperationStarter _starter;
    private ManualResetValueTaskSourceCore<RmaReceiveResult> _task;
    private CancellationTokenRegistration _cancellation;
    private CancellationToken _cancellationToken;
    private RmaHold _hold;
    private TaskCompletionSource<RmaReceiveResult>? _waiter;
    private RemoteRegion? _region;
    /// <summary>The users that a slot may have.</summary>
    private const int FabricUses = 1;

    /// <inheritdoc cref="FabricUses"/>
    private const int OwnerUses = 2;

    private int _users;
    private volatile bool _cancelRequested;
    private Awaiting _awaiting;

    private nint _address;
    private ulong _remoteAddress;
    private ulong? _notification;

    /// <param name="starter">Frees it.</param>
    /// <param name="index">Its number.</param>
    /// <param name="runsInline">What awaits it goes on by the thread that makes progress.</param>
    public OperationSlot(OperationStarter starter, int index, bool runsInline)
        : base(index)
    {
        _starter = starter;
        _awaiting = new Awaiting(starter, runsInline);
        _task = _awaiting.CreateTask<RmaReceiveResult>();
    }

    /// <summary>The bytes of the whole operation, of which the driver may be given a part at a time.</summary>
    public long WholeLength { get; private set; }

    /// <summary>Who sent the message that was received; null where that isn't known.</summary>
    public RmaDriverPeer? Sender { get; set; }

    /// <summary>The caller's own number.</summary>
    public ulong Context { get; private set; }

    /// <summary>Somebody awaits it; else its end goes to the completions.</summary>
    public bool HasTask { get; private set; }

    /// <summary>Who is notified of its end, at once; null for others. Set before the slot is filled.</summary>
    public IOperationOwner? Owner { get; set; }

    /// <summary>The run of the batch that it is of, which its end is reported to; null for others.</summary>
    public BatchRun? Batch { get; private set; }

    /// <summary>Which operation of the batch it is (<see cref="BatchRun.IndexOf"/>).</summary>
    public long Ticket { get; private set; }

    /// <summary>Bytes whose completion was read; RMA that is longer than the transport's messages goes in parts.</summary>
    public long Transferred { get; set; }

    public long Started { get; private set; }

    /// <summary>The timestamp at which it times out; <see cref="long.MaxValue"/> for never.</summary>
    public long Deadline { get; private set; }

    /// <summary>Until when the transport may give it up (<see cref="OperationState.Cancelling"/>). The caller must hold the progress turn.</summary>
    public long GraceEnds { get; set; }

    /// <summary>How often the transport was asked to give it up. The caller must hold the progress turn.</summary>
    public int CancelRequests { get; set; }

    /// <summary>Its neighbours in the retry queue, which it writes under its lock.</summary>
    public OperationSlot? PreviousRetry { get; set; }

    /// <inheritdoc cref="PreviousRetry"/>
    public OperationSlot? NextRetry { get; set; }

    public short Version => _task.Version;

    public bool CancelRequested => _cancelRequested || Batch is { IsCancelRequested: true };

    public CancellationToken CancellationToken => Batch is { } batch ? batch.CancellationToken : _cancellationToken;

    /// <summary>The fabric is done with it, and nobody has taken the result.</summary>
    public bool IsUnclaimed => State == OperationState.Free && Volatile.Read(ref _users) > 0;

    /// <summary>Fills the slot. The holds are taken over.</summary>
    public void Prepare(
        in RmaOperation operation, RmaHold hold, bool hasTask, long started, long deadline, CancellationToken cancellationToken, TaskCompletionSource<RmaReceiveResult>? waiter = null)
    {
        _hold = hold;
        _waiter = waiter;
        // One that waited for its slot has a task of its own; nobody takes the result from here.
        _users = hasTask && waiter is null ? FabricUses | OwnerUses : FabricUses;
        _awaiting.Begin(_task.Version);
        Kind = operation.Kind;
        // The hold's, which keeps it: the buffer may have been disposed while the operation waited for its slot.
        _address = hold.Address + (nint)operation.Local.Offset;
        LocalDescriptor = hold.LocalDescriptor;
        WholeLength = operation.Local.Length;
        Context = operation.Context;
        HasTask = hasTask;
        Peer = operation.Destination.Entry;
        _region = operation.Remote.Region;
        _remoteAddress = _region is null ? 0 : operation.Remote.Address;
        Key = _region is null ? 0 : _region.Key;
        _notification = operation.Notification;
        _cancellationToken = cancellationToken;
        _cancelRequested = false;
        // Before the state: whoever ends the operation disposes the registration.
        _cancellation = cancellationToken.CanBeCanceled ? cancellationToken.UnsafeRegister(CancelCallback, this) : default;
        SetPosted(started, deadline);
    }

    /// <summary>Fills the slot with an operation of a batch, which keeps what the operation uses.</summary>
    /// <param name="entry">The operation.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="ticket">Which of the batch's operations it is.</param>
    /// <param name="hasMore">The next one follows at once.</param>
    /// <param name="started">When it starts.</param>
    public void Prepare(in BatchEntry entry, BatchRun batch, long ticket, bool hasMore, long started)
    {
        _users = FabricUses;
        Kind = entry.Kind;
        _address = entry.Address;
        LocalDescriptor = entry.LocalDescriptor;
        WholeLength = entry.Length;
        HasTask = false;
        Peer = entry.Peer;
        _remoteAddress = entry.RemoteAddress;
        Key = entry.Region is null ? 0 : entry.Region.Key;
        _notification = entry.Notification;
        HasMore = hasMore;
        // The use before may have been cancelled; the batch says itself whether it is.
        _cancelRequested = false;
        Batch = batch;
        Ticket = ticket;
        SetPosted(started, batch.Deadline);
    }

    /// <summary>As <see cref="Prepare(in BatchEntry, BatchRun, long, bool, long)"/>, for one that has waited for its slot and keeps what it uses.</summary>
    public void Prepare(in RmaOperation operation, RmaHold hold, BatchRun batch, long ticket, long started)
    {
        Batch = batch;
        Ticket = ticket;
        Prepare(operation, hold, hasTask: false, started, batch.Deadline, CancellationToken.None);
    }

    private void SetPosted(long started, long deadline)
    {
        Debug.Assert(State == OperationState.Free, "a slot is filled once at a time");
        CancelRequests = 0;
        Sender = null;
        Transferred = 0;
        Started = started;
        Deadline = deadline;
        Begin();
        // Whoever does not see this has not done yet what is looked at from here on: noted a cancellation, begun a round of
        // the deadlines, closed or broken the endpoint, removed the peer.
        Fence.AfterInterlocked();
        // A callback that ran before was seen by no turn.
        if (CancelRequested)
            _starter.OnCancelRequested();
    }

    /// <summary>What was to follow does not, or not at once: a later call of the driver posts it.</summary>
    public void EndMore() => HasMore = false;

    /// <summary>Makes the next part of it what the driver is to post.</summary>
    /// <param name="longest">The bytes that the transport moves at once, for a read or a write.</param>
    public void SelectPart(long longest)
    {
        long rest = WholeLength - Transferred;
        Address = _address + (nint)Transferred;
        RemoteAddress = _remoteAddress + (ulong)Transferred;
        Length = Kind is RmaOperationKind.Write or RmaOperationKind.Read ? Math.Min(rest, longest) : rest;
        // With the last part: the others are there before it is posted.
        Notification = Length == rest ? _notification : null;
    }

    /// <summary>Takes a preparation back that nobody else has ended, before anything was posted. The holds are the caller's again.</summary>
    public bool TryUnprepare()
    {
        if (!TryEndUnposted(Use))
            return false;
        _cancellation.Dispose();
        _hold = default;
        _region = null;
        _waiter = null;
        _users = 0;
        Batch = null;
        Owner = null;
        HasMore = false;
        SetFree();
        return true;
    }

    /// <summary>Tells whoever awaits it that it succeeded.</summary>
    public void SetResult(RmaReceiveResult result)
    {
        // Waits for a callback that runs: none may reach the slot when it is somebody else's.
        _cancellation.Dispose();
        if (_waiter is null)
            _task.SetResult(result);
        else
            _waiter.TrySetResult(result);
    }

    /// <summary>Tells whoever awaits it that it failed.</summary>
    public void SetException(Exception error)
    {
        _cancellation.Dispose();
        if (_waiter is null)
            _task.SetException(error);
        else
            _waiter.TrySetException(error);
    }

    /// <summary>The fabric may still touch the buffer, though the caller has been told. Said before that: until then a batch keeps all of its buffers.</summary>
    public void Quarantine()
    {
        if (Batch is { } batch && !_hold.IsActive)
            _hold = batch.HoldAgain(Ticket, out _region);
        _hold.Quarantine();
    }

    /// <summary>Takes its hold over, for a buffer that has to be held longer than the slot.</summary>
    public RmaHold TakeHold()
    {
        RmaHold hold = _hold;
        _hold = default;
        return hold;
    }

    /// <summary>The fabric touches the buffer no more. Said before the owner is told, who may return the buffer at once.</summary>
    public void EndHold() => _hold.Release();

    /// <summary>The fabric is done with it, and the owner was told: after <see cref="OperationState.Ended"/> or <see cref="OperationState.Late"/>.</summary>
    public void ReleaseByFabric()
    {
        _hold.Release();
        _region?.EndUse();
        _region = null;
        Batch = null;
        Owner = null;
        HasMore = false;
        SetFree();
        Release(FabricUses);
    }

    /// <summary>Whoever is about to suspend asks this first, and makes progress instead for a while.</summary>
    public ValueTaskSourceStatus GetStatus(short token)
    {
        CheckToken(token);
        ValueTaskSourceStatus status = _task.GetStatus(token);
        return status == ValueTaskSourceStatus.Pending && _awaiting.TryBeginHelp() && _starter.TryEnd(this, token) ? _task.GetStatus(token) : status;
    }

    bool IAwaited.HasEnded(short token) => _task.GetStatus(token) != ValueTaskSourceStatus.Pending;

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        CheckToken(token);
        _awaiting.OnCompleted(ref _task, continuation, state, token, flags);
    }

    RmaReceiveResult IValueTaskSource<RmaReceiveResult>.GetResult(short token) => GetResult(token);

    void IValueTaskSource.GetResult(short token) => GetResult(token);

    private RmaReceiveResult GetResult(short token)
    {
        // Before anything is let go; so is this for a result that isn't there.
        CheckToken(token);
        if (_task.GetStatus(token) == ValueTaskSourceStatus.Pending)
            throw new InvalidOperationException("The operation has not completed. Await its ValueTask, once; turn it into a Task with AsTask() to block on it.");
        if (!_awaiting.TryEnd(token))
            ThrowAwaitedBefore();
        try
        {
            return _task.GetResult(token);
        }
        finally
        {
            Release(OwnerUses);
        }
    }

    /// <exception cref="InvalidOperationException">The token is of an earlier use.</exception>
    private void CheckToken(short token)
    {
        if (token != _task.Version)
            ThrowAwaitedBefore();
    }

    [DoesNotReturn]
    private static void ThrowAwaitedBefore() => throw new InvalidOperationException(
        "The ValueTask of this operation was awaited before, or its result was taken. Await it once; to await it several times, or to keep it, turn it into a Task with AsTask() first.");

    private void RequestCancel()
    {
        _cancelRequested = true;
        _starter.OnCancelRequested();
    }

    private void Release(int user)
    {
        if (Interlocked.And(ref _users, ~user) != user)
            return;
        // From here on a second await of the same task throws.
        _task.Reset();
        _waiter = null;
        _starter.FreeSlot(this);
    }
}
