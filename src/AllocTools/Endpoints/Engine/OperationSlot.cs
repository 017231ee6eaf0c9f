using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Threading.Tasks.Sources;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>One outstanding operation. Slots are created once and reused, so that an operation allocates nothing.</summary>
/// <remarks>
/// A slot has two users. The fabric uses it until the completion was read or is known never to arrive; the code that
/// awaits the task uses it until it has taken the result. The last user frees the slot. An operation without a task, and
/// one of a batch, has only the first user. Only the named transitions in OperationState.cs change the state. A thread
/// must change the state before it acts on a slot; everything else is written before the operation is posted.
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
    /// <summary>The bits of the users that a slot may have.</summary>
    private const int FabricUses = 1;

    /// <inheritdoc cref="FabricUses"/>
    private const int OwnerUses = 2;

    private int _users;
    private volatile bool _cancelRequested;
    private Awaiting _awaiting;

    private nint _address;
    private ulong _remoteAddress;
    private ulong? _notification;

    /// <param name="starter">Frees the slot.</param>
    /// <param name="index">The slot's number.</param>
    /// <param name="runsInline">Whether code that awaits the operation continues on the thread that makes progress.</param>
    public OperationSlot(OperationStarter starter, int index, bool runsInline)
        : base(index)
    {
        _starter = starter;
        _awaiting = new Awaiting(starter, runsInline);
        _task = _awaiting.CreateTask<RmaReceiveResult>();
    }

    /// <summary>The length of the whole operation in bytes, which the driver may receive in parts.</summary>
    public long WholeLength { get; private set; }

    /// <summary>The sender of a received message; null if it isn't known.</summary>
    public RmaDriverPeer? Sender { get; set; }

    /// <summary>The caller's own number.</summary>
    public ulong Context { get; private set; }

    /// <summary>Whether the operation has a task; otherwise its end is added to the completions.</summary>
    public bool HasTask { get; private set; }

    /// <summary>The owner that is notified of the end immediately; null for none. Set before the slot is filled.</summary>
    public IOperationOwner? Owner { get; set; }

    /// <summary>The batch run to which the end is reported; null if the operation is not in a batch.</summary>
    public BatchRun? Batch { get; private set; }

    /// <summary>The operation's ticket in the batch (<see cref="BatchRun.IndexOf"/>).</summary>
    public long Ticket { get; private set; }

    /// <summary>The bytes whose completion was read. Reads and writes longer than the transport's messages are split into parts.</summary>
    public long Transferred { get; set; }

    public long Started { get; private set; }

    /// <summary>The timestamp at which the operation times out; <see cref="long.MaxValue"/> for never.</summary>
    public long Deadline { get; private set; }

    /// <summary>Until when the transport may cancel the operation (<see cref="OperationState.Cancelling"/>). The caller must hold the progress turn.</summary>
    public long GraceEnds { get; set; }

    /// <summary>How often the transport was asked to cancel the operation. The caller must hold the progress turn.</summary>
    public int CancelRequests { get; set; }

    /// <summary>The neighbours in the retry queue, which the queue writes under its lock.</summary>
    public OperationSlot? PreviousRetry { get; set; }

    /// <inheritdoc cref="PreviousRetry"/>
    public OperationSlot? NextRetry { get; set; }

    public short Version => _task.Version;

    public bool CancelRequested => _cancelRequested || Batch is { IsCancelRequested: true };

    public CancellationToken CancellationToken => Batch is { } batch ? batch.CancellationToken : _cancellationToken;

    /// <summary>Whether the fabric no longer uses the slot, but its result has not been taken.</summary>
    public bool IsUnclaimed => State == OperationState.Free && Volatile.Read(ref _users) > 0;

    /// <summary>Fills the slot, which takes over the holds.</summary>
    public void Prepare(
        in RmaOperation operation, RmaHold hold, bool hasTask, long started, long deadline, CancellationToken cancellationToken, TaskCompletionSource<RmaReceiveResult>? waiter = null)
    {
        _hold = hold;
        _waiter = waiter;
        // An operation that waited for its slot has its own task, so the result is not taken from this slot.
        _users = hasTask && waiter is null ? FabricUses | OwnerUses : FabricUses;
        _awaiting.Begin(_task.Version);
        Kind = operation.Kind;
        // The address is the hold's, not the buffer's: the buffer may have been disposed while the operation waited for its slot.
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
        // Registered before the state is set, because the thread that ends the operation disposes the registration.
        _cancellation = cancellationToken.CanBeCanceled ? cancellationToken.UnsafeRegister(CancelCallback, this) : default;
        SetPosted(started, deadline);
    }

    /// <summary>Fills the slot with an operation of a batch, which keeps the resources of the operation.</summary>
    /// <param name="entry">The operation.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="ticket">The ticket of the operation in the batch.</param>
    /// <param name="hasMore">Whether the next operation follows immediately.</param>
    /// <param name="started">When the operation starts.</param>
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
        // The previous use may have been cancelled; the batch itself knows whether it is cancelled.
        _cancelRequested = false;
        Batch = batch;
        Ticket = ticket;
        SetPosted(started, batch.Deadline);
    }

    /// <summary>
    /// Like <see cref="Prepare(in BatchEntry, BatchRun, long, bool, long)"/>, but for an operation that has waited for its
    /// slot and keeps its own resources.
    /// </summary>
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
        // A thread that does not see this state has not yet done the thing that is checked from here on: noted a
        // cancellation, begun a round of the deadlines, closed the endpoint or marked it as failed, or removed the peer.
        Fence.AfterInterlocked();
        // No turn has seen a cancellation whose callback ran earlier.
        if (CancelRequested)
            _starter.OnCancelRequested();
    }

    /// <summary>Notes that the announced next operation does not follow immediately, if at all: a later call of the driver posts it.</summary>
    public void EndMore() => HasMore = false;

    /// <summary>Prepares the next part of the operation for the driver to post.</summary>
    /// <param name="longest">The maximum number of bytes of a read or write that the transport moves in one part.</param>
    public void SelectPart(long longest)
    {
        long rest = WholeLength - Transferred;
        Address = _address + (nint)Transferred;
        RemoteAddress = _remoteAddress + (ulong)Transferred;
        Length = Kind is RmaOperationKind.Write or RmaOperationKind.Read ? Math.Min(rest, longest) : rest;
        // The notification is sent with the last part, because all others have arrived before that part is posted.
        Notification = Length == rest ? _notification : null;
    }

    /// <summary>Undoes a preparation before anything was posted, unless another thread has ended the operation. The caller owns the holds again.</summary>
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

    /// <summary>Completes the task with success.</summary>
    public void SetResult(RmaReceiveResult result)
    {
        // This waits for a running callback, because none may reach the slot during its next use.
        _cancellation.Dispose();
        if (_waiter is null)
            _task.SetResult(result);
        else
            _waiter.TrySetResult(result);
    }

    /// <summary>Completes the task with an error.</summary>
    public void SetException(Exception error)
    {
        _cancellation.Dispose();
        if (_waiter is null)
            _task.SetException(error);
        else
            _waiter.TrySetException(error);
    }

    /// <summary>
    /// Notes that the fabric may still access the buffer although the caller is notified. Called before the notification,
    /// because a batch keeps all of its buffers until then.
    /// </summary>
    public void Quarantine()
    {
        if (Batch is { } batch && !_hold.IsActive)
            _hold = batch.HoldAgain(Ticket, out _region);
        _hold.Quarantine();
    }

    /// <summary>Hands the hold over to the caller, for a buffer that must be held longer than the slot.</summary>
    public RmaHold TakeHold()
    {
        RmaHold hold = _hold;
        _hold = default;
        return hold;
    }

    /// <summary>
    /// Notes that the fabric no longer accesses the buffer. Called before the owner is notified, because the owner may
    /// return the buffer immediately.
    /// </summary>
    public void EndHold() => _hold.Release();

    /// <summary>
    /// Called when the fabric no longer uses the slot and the owner was notified: after <see cref="OperationState.Ended"/>
    /// or <see cref="OperationState.Late"/>.
    /// </summary>
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

    /// <summary>Returns the status. A thread that is about to suspend calls this first, and makes progress for a while instead.</summary>
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
        // Checked before anything is released; this also throws if the result is not available yet.
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

    /// <exception cref="InvalidOperationException">The token belongs to an earlier use.</exception>
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
        // From here on, a second await of the same task throws.
        _task.Reset();
        _waiter = null;
        _starter.FreeSlot(this);
    }
}
