using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints.Engine;

/// <content>Support for batches: slots for operations without their own tasks.</content>
internal sealed partial class OperationStarter
{
    /// <inheritdoc cref="RmaEndpointDriver.MaxFollowed"/>
    public int MaxFollowed { get; }

    /// <summary>The maximum number of bytes of a read or write that the transport moves in one part.</summary>
    public long LongestPart => _context.Traits.MaxMessageSize;

    /// <summary>Starts a run of a batch.</summary>
    /// <exception cref="InvalidOperationException">The batch is already running, a buffer was returned, or a peer was removed.</exception>
    public void Start(BatchRun run, TimeSpan timeout, CancellationToken cancellationToken)
    {
        run.ThrowIfRunning();
        foreach (RmaDriverPeer peer in run.List.Peers)
        {
            if (peer.IsRemoved)
                throw run.List.Removed(peer, _errors.PeerOf(peer));
        }
        long now = _progress.StartOf(timeout);
        long deadline = DeadlineOf(now, timeout);
        run.Start(now, deadline, cancellationToken);
        WakeForNext(deadline);
    }

    /// <summary>Whether no more operations are started.</summary>
    public bool IsClosed => _closed;

    public bool TryTakeSlot([NotNullWhen(true)] out OperationSlot? slot) => _free.TryTake(out slot);

    /// <summary>Returns the start of an operation of a batch, as a timestamp. It is that of the batch if operations are not timed.</summary>
    public long StartOfBatched(long startOfBatch) => _counters.IsTimed ? _time.GetTimestamp() : startOfBatch;

    /// <summary>Counts an empty read or write, which completes immediately.</summary>
    public void CountEmpty(RmaOperationKind kind) => _counters.Succeeded(kind, 0);

    /// <summary>Whether an operation of a batch, whose slot is filled, may be posted.</summary>
    /// <param name="slot">The operation's slot, which is free again if a reason is returned.</param>
    /// <param name="entry">The operation.</param>
    /// <param name="isPromised">
    /// Whether the operation before it was posted with FI_MORE, and may not start without this one. Closing can't intervene,
    /// because it waits for the posting thread.
    /// </param>
    /// <param name="reason">Why it may not be posted; also null if it was cancelled or overdue, in which case a turn ends it.</param>
    public bool TryAdmit(OperationSlot slot, in BatchEntry entry, bool isPromised, out Exception? reason)
    {
        _progress.NoteDeadline(slot.Deadline);
        reason = FindReasonAgainst(entry, isPromised);
        if (reason is null)
            return true;
        if (slot.TryUnprepare())
        {
            _counters.Failed(entry.Kind, reason);
            _free.Return(slot);
        }
        else
        {
            _progress.LeaveToTurn(slot);
            reason = null;
        }
        return false;
    }

    /// <summary>Queues an operation of a batch, because all slots are in use. The batch is notified if the operation fails, and when it has left the queue.</summary>
    public void StartLater(BatchRun run, long ticket, long started)
    {
        int index = BatchRun.IndexOf(ticket);
        RmaOperation operation = run.List.TakeOut(index, _errors.PeerOf(run.List.Entries[index].Peer)!.Value, out RmaHold hold);
        var waiting = new WaitingOperation(operation, hold, started, run.Deadline, run.CancellationToken) { Batch = run, Ticket = ticket };
        if (_free.TryWait(waiting) is not { } node)
        {
            LetGo(operation, hold);
            run.OnFailed(ticket, _errors.EndpointClosed(operation.Kind, operation.Local.Length));
            return;
        }
        // The operation may have been added after all waiting ones were ended.
        if (_progress.Failure is { } failure && _free.TryRemove(node))
            EndWaiting(waiting, NoProgress(operation, failure));
        _ = AwaitAsync(run, ticket, AwaitAsync(node, RestUntil(run.Deadline)));
    }

    private static async Task AwaitAsync(BatchRun run, long ticket, ValueTask<RmaReceiveResult> slot)
    {
        try
        {
            await slot.ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // All exceptions are caught, because the batch reports them.
            run.OnFailed(ticket, e);
        }
    }

    private TimeSpan RestUntil(long deadline)
    {
        if (deadline == long.MaxValue)
            return Timeout.InfiniteTimeSpan;
        TimeSpan rest = _time.GetElapsedTime(_time.GetTimestamp(), deadline);
        return rest > TimeSpan.Zero ? rest : TimeSpan.Zero;
    }

    private Exception? FindReasonAgainst(in BatchEntry entry, bool isPromised) =>
        _closed && !isPromised ? _errors.EndpointClosed(entry.Kind, entry.Length)
        : _progress.Failure is { } failure ? _errors.NoProgress(entry.Kind, entry.Length, failure)
        : _errors.FindReasonAgainst(entry);
}
