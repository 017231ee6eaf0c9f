using System.Diagnostics.CodeAnalysis;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints.Engine;

/// <content>What batches need: slots for operations without tasks of their own.</content>
internal sealed partial class OperationStarter
{
    /// <inheritdoc cref="RmaEndpointDriver.MaxFollowed"/>
    public int MaxFollowed { get; }

    /// <summary>The bytes that the transport moves at once, for a read or a write.</summary>
    public long LongestPart => _context.Traits.MaxMessageSize;

    /// <summary>Starts a run of a batch.</summary>
    /// <exception cref="InvalidOperationException">It runs already, a buffer was returned, or a peer removed.</exception>
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

    /// <summary>Nothing is started any more.</summary>
    public bool IsClosed => _closed;

    public bool TryTakeSlot([NotNullWhen(true)] out OperationSlot? slot) => _free.TryTake(out slot);

    /// <summary>When an operation of a batch starts, as a timestamp: with its batch, where nobody times operations.</summary>
    public long StartOfBatched(long startOfBatch) => _counters.IsTimed ? _time.GetTimestamp() : startOfBatch;

    /// <summary>A read or write of nothing is done at once.</summary>
    public void CountEmpty(RmaOperationKind kind) => _counters.Succeeded(kind, 0);

    /// <summary>Whether an operation of a batch may be posted, whose slot is filled.</summary>
    /// <param name="slot">Its slot, which is free again where this gives a reason.</param>
    /// <param name="entry">The operation.</param>
    /// <param name="isPromised">
    /// The one before it was posted with FI_MORE, and may not start without this one: closing does not come between them, for it waits
    /// for whoever posts.
    /// </param>
    /// <param name="reason">Why it may not; null also where it was cancelled or its time was over, and it ends by itself.</param>
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

    /// <summary>All slots are taken by others: an operation of a batch waits in line. Its batch is notified where it fails, and when it has left the queue.</summary>
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
        // It may have come after those that wait were ended.
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
            // Whatever it is: the batch reports it.
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
