using AllocTools.Diagnostics;

namespace AllocTools.Endpoints.Engine;

/// <summary>Ends operations: notifies their owners, and releases their resources. Any thread may call this at any time.</summary>
internal sealed class OperationEnding(EndpointErrors errors, RetryQueue retries, CompletionRing completions, EarliestDeadline earliest, EndpointCounters counters, TimeProvider time)
{
    /// <summary>Ends an operation whose last completion was read.</summary>
    /// <param name="slot">The operation, in the state <see cref="OperationState.Ended"/>.</param>
    public void Succeed(OperationSlot slot)
    {
        long transferred = slot.Transferred;
        counters.Succeeded(slot.Kind, transferred);
        if (counters.IsTimed)
            counters.Instruments?.Record(slot.Kind, time.GetElapsedTime(slot.Started), null);
        if (slot.Batch is { } batch)
        {
            // The slot is released first, because the batch continues with it.
            slot.ReleaseByFabric();
            batch.OnSucceeded();
            return;
        }
        if (slot.Owner is { } owner)
        {
            ulong context = slot.Context;
            slot.ReleaseByFabric();
            owner.OnEnded(context, null);
            return;
        }
        if (!slot.HasTask)
        {
            RmaCompletion completion = new(slot.Context, slot.Kind, transferred, 0) { Sender = slot.Sender?.Number };
            slot.ReleaseByFabric();
            completions.Add(completion);
            return;
        }
        // The hold is ended first, because the owner may return the buffer immediately.
        slot.EndHold();
        slot.SetResult(new RmaReceiveResult(transferred, errors.PeerOf(slot.Sender)));
        slot.ReleaseByFabric();
    }

    /// <summary>Ends an operation that has failed, and that the fabric no longer uses.</summary>
    /// <param name="slot">The operation, in the state <see cref="OperationState.Ended"/>.</param>
    /// <param name="error">The error for its owner.</param>
    public void Fail(OperationSlot slot, Exception error)
    {
        slot.EndHold();
        if (slot.Batch is { } batch)
        {
            long ticket = slot.Ticket;
            Count(slot, error);
            slot.ReleaseByFabric();
            batch.OnFailed(ticket, error);
            return;
        }
        if (slot.Owner is { } owner)
        {
            ulong context = slot.Context;
            Count(slot, error);
            slot.ReleaseByFabric();
            owner.OnEnded(context, error);
            return;
        }
        Notify(slot, error);
        slot.ReleaseByFabric();
    }

    /// <summary>Ends an operation that the transport refused. Called by its poster.</summary>
    public void FailUnposted(OperationSlot slot, long use, Exception error)
    {
        if (slot.TryEndUnposted(use))
            Fail(slot, error);
        else
            LeaveToTurn(slot, use);
    }

    /// <summary>Ends a queued operation, if it is still in the queue.</summary>
    public void TryFailQueued(OperationSlot slot, long word, Exception error)
    {
        if (!slot.TryEndQueued(word))
            return;
        retries.Remove(slot);
        Fail(slot, error);
    }

    /// <summary>
    /// Notifies the owner of a posted operation that it has ended, unless another thread has done so. Its buffer is
    /// quarantined until the completion arrives or the endpoint is closed.
    /// </summary>
    public void TryAbandon(OperationSlot slot, long word, Exception error)
    {
        if (!slot.TryBeginEnding(word))
            return;
        // Quarantined first, because the owner may return the buffer once it is notified.
        slot.Quarantine();
        Notify(slot, error, isAbandoned: true);
        if (!slot.TryAbandon(OperationSlot.UseOf(word)))
            slot.ReleaseByFabric();
    }

    /// <summary>
    /// Called when the fabric no longer uses an operation that another thread has ended or is about to end. The caller
    /// must hold the progress turn.
    /// </summary>
    public static void LetGo(OperationSlot slot, long use)
    {
        if (slot.TryLetGo(use))
            slot.ReleaseByFabric();
    }

    /// <summary>
    /// Called when the transport did not accept an operation that another thread has ended or is about to end. Only a
    /// turn frees it, because a turn may be asking the transport to cancel it at this moment.
    /// </summary>
    public void LeaveToTurn(OperationSlot slot, long use)
    {
        SpinWait spin = default;
        while (!slot.TryLeaveUnposted(use))
        {
            // Its owner is being notified.
            spin.SpinOnce();
        }
        earliest.NoteNow();
    }

    /// <summary>Notifies the owner of an operation that the transport did not accept, and leaves the slot to a turn.</summary>
    public void TryNotifyUnposted(OperationSlot slot, long word, Exception error)
    {
        if (!slot.TryBeginEnding(word))
            return;
        slot.EndHold();
        Notify(slot, error);
        if (slot.TryRefuse(OperationSlot.UseOf(word)))
            earliest.NoteNow();
        else
            slot.ReleaseByFabric();
    }

    /// <summary>Returns the error of an operation that is cancelled or overdue, or whose peer is lost.</summary>
    /// <param name="slot">The operation.</param>
    /// <param name="isHeld">Whether the fabric may still access its buffer.</param>
    public Exception OverdueError(OperationSlot slot, bool isHeld) => slot.CancelRequested
        ? new OperationCanceledException(slot.CancellationToken)
        : errors.FindLoss(slot) as Exception
        ?? errors.Timeout(slot, time.GetElapsedTime(slot.Started, slot.Deadline), isHeld);

    private void Count(OperationSlot slot, Exception error)
    {
        string errorType = counters.Failed(slot.Kind, error);
        if (counters.IsTimed)
            counters.Instruments?.Record(slot.Kind, time.GetElapsedTime(slot.Started), errorType);
    }

    private void Notify(OperationSlot slot, Exception error, bool isAbandoned = false)
    {
        Count(slot, error);
        if (slot.Batch is { } batch)
            batch.OnFailed(slot.Ticket, error);
        else if (slot.Owner is { } owner && isAbandoned)
            owner.OnAbandoned(slot.Context, error);
        else if (slot.Owner is { } notified)
            notified.OnEnded(slot.Context, error);
        else if (slot.HasTask)
            slot.SetException(error);
        else
            completions.Add(new RmaCompletion(slot.Context, slot.Kind, error is RmaMessageTruncatedException { MessageLength: { } length } ? length : 0, error is RmaException { ErrorCode: > 0 and int code } ? code : EndpointErrors.IoError));
    }
}
