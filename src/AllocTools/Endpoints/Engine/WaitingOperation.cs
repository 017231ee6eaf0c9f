using AllocTools.Endpoints.Batches;

namespace AllocTools.Endpoints.Engine;

/// <summary>An operation that waits for a slot. It holds its buffer already, and its time runs.</summary>
internal sealed class WaitingOperation(in RmaOperation operation, RmaHold hold, long started, long deadline, CancellationToken cancellationToken)
    : TaskCompletionSource<RmaReceiveResult>(TaskCreationOptions.RunContinuationsAsynchronously)
{
    public RmaOperation Operation { get; } = operation;

    /// <summary>The run of the batch that it is of; null for others.</summary>
    public BatchRun? Batch { get; init; }

    /// <inheritdoc cref="OperationSlot.Ticket"/>
    public long Ticket { get; init; }

    public RmaHold Hold { get; } = hold;

    public long Started => started;

    public long Deadline => deadline;

    public CancellationToken CancellationToken => cancellationToken;
}
