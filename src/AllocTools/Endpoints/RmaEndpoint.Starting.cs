using System.Diagnostics;
using AllocTools.Diagnostics;
using AllocTools.Endpoints.Batches;
using AllocTools.Endpoints.Engine;
using AllocTools.Validation;

namespace AllocTools.Endpoints;

/// <content>Checks and starts operations and batches, and traces them if there is a listener.</content>
public partial class RmaEndpoint
{
    private ValueTask StartWithoutResult(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        if (RmaActivities.OperationsAreTraced)
            return WithoutResult(Trace(operation, timeout, cancellationToken));
        return Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<RmaReceiveResult> later)
            ? new ValueTask(slot!, slot!.Version)
            : WithoutResult(later);
    }

    private ValueTask<RmaReceiveResult> StartWithResult(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken) =>
        Start(operation, timeout, cancellationToken, out OperationSlot? slot, out ValueTask<RmaReceiveResult> later)
            ? new ValueTask<RmaReceiveResult>(slot!, slot!.Version)
            : later;

    /// <summary>Starts an operation with a span, which allocates, unlike a start without one.</summary>
    private ValueTask<RmaReceiveResult> Trace(in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        Activity? callers = Activity.Current;
        RmaSpan span = RmaActivities.StartOperation(operation.Kind, _context.Traits.ProviderName, operation.Local.Length, _context.Health.Logger);
        try
        {
            return EndAsync(span, StartWithResult(operation, timeout, cancellationToken));
        }
        catch (Exception e)
        {
            // The exception is thrown immediately, as it is without a span.
            span.Fail(e);
            span.Dispose();
            throw;
        }
        finally
        {
            Activity.Current = callers;
        }
    }

    private static async ValueTask<RmaReceiveResult> EndAsync(RmaSpan span, ValueTask<RmaReceiveResult> running)
    {
        using (span)
        {
            try
            {
                return await running.ConfigureAwait(false);
            }
            catch (Exception e)
            {
                span.Fail(e);
                throw;
            }
        }
    }

    /// <summary>Starts an operation with a task.</summary>
    /// <returns>True if the slot carries the task; false if <paramref name="later"/> is the task.</returns>
    private bool Start(
        in RmaOperation operation, TimeSpan? timeout, CancellationToken cancellationToken, out OperationSlot? slot, out ValueTask<RmaReceiveResult> later)
    {
        slot = null;
        later = default;
        if (cancellationToken.IsCancellationRequested)
        {
            later = ValueTask.FromCanceled<RmaReceiveResult>(cancellationToken);
            return false;
        }
        Enter();
        try
        {
            TimeSpan limit = timeout ?? _options.OperationTimeout;
            EndpointChecks.ThrowIfInvalidTimeout(limit);
            CheckOperation(operation);
            if (IsEmptyTransfer(operation))
                return false;
            return _starter.Start(operation, limit, cancellationToken, out slot, out later);
        }
        catch (RmaException e)
        {
            // Usage errors are thrown immediately; errors of the transport or of memory are reported by the task.
            later = ValueTask.FromException<RmaReceiveResult>(e);
            return false;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>Checks an operation that is added to a batch, like one that is started.</summary>
    internal void CheckForBatch(in RmaOperation operation)
    {
        ThrowIfClosed();
        ThrowIfInvalid(operation);
        if (_errors.FindReasonAgainst(operation) is ArgumentException mistake)
            throw mistake;
        operation.Remote.Region?.ThrowIfDisposed();
    }

    /// <summary>Runs a batch.</summary>
    internal ValueTask Run(BatchRun batch, TimeSpan? timeout, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled(cancellationToken);
        Enter();
        try
        {
            TimeSpan limit = timeout ?? _options.OperationTimeout;
            EndpointChecks.ThrowIfInvalidTimeout(limit);
            _starter.Start(batch, limit, cancellationToken);
            return new ValueTask(batch, batch.Version);
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>Begins the span of a run.</summary>
    internal RmaSpan StartBatchSpan(BatchList batch) => RmaActivities.StartBatch(_context.Traits.ProviderName, batch.Count, batch.Length, _context.Health.Logger);

    /// <summary>
    /// Whether an operation is an empty read or write, which completes immediately without the transport, because shm
    /// (libfabric 1.17) never completes one. The buffer is checked nevertheless.
    /// </summary>
    private bool IsEmptyTransfer(in RmaOperation operation)
    {
        if (operation.Local.Length != 0 || operation.Kind is not (RmaOperationKind.Write or RmaOperationKind.Read))
            return false;
        operation.Local.Hold().Release();
        _counters.Succeeded(operation.Kind, 0);
        return true;
    }

    private void CheckOperation(in RmaOperation operation)
    {
        if (_starter.Progress.Failure is { } failure)
            throw _errors.NoProgress(operation.Kind, operation.Local.Length, failure);
        ThrowIfInvalid(operation);
    }

    private void ThrowIfInvalid(in RmaOperation operation)
    {
        EndpointChecks.ThrowIfInvalid(this, _context, operation);
        if (operation.Kind == RmaOperationKind.Send)
            ThrowIfTooLong(operation.Local.Length, operation.Peer);
        if (operation.Notification is { } notification)
            ThrowIfNotifiesNobody(operation.Local, notification);
    }

    private void ThrowIfNotifiesNobody(RmaSlice source, ulong notification)
    {
        int size = _context.Traits.NotificationSize;
        if (size == 0)
            throw new NotSupportedException($"The provider '{_context.Traits.ProviderName}' does not support writes with a notification (the traits' NotificationSize is 0). Send a message once the write has completed.");
        if (size < sizeof(ulong) && notification >> (8 * size) != 0)
            throw new ArgumentOutOfRangeException(nameof(notification), notification, $"The notification must fit into {size} bytes on provider '{_context.Traits.ProviderName}'.");
        if (source.Length == 0)
            throw new ArgumentException("A write with a notification must have at least one byte.", nameof(source));
    }

    private void ThrowIfTooLong(long length, RmaPeer peer)
    {
        long theirs = peer.Entry!.Transport?.MaxMessageLength ?? long.MaxValue;
        if (length <= Math.Min(_maxMessageLength, theirs))
            return;
        string limit = theirs < _maxMessageLength
            ? $"than the peer takes, {InWords.Size(theirs)} (its Provider:Endpoint:MaxMessageLength)"
            : _maxMessageLength < _options.MaxMessageLength
            ? $"than the provider '{_context.Traits.ProviderName}' can send, {InWords.Size(_maxMessageLength)}"
            : $"than Provider:Endpoint:MaxMessageLength, {InWords.Size(_maxMessageLength)}";
        throw new ArgumentException($"A message of {InWords.Size(length)} is longer {limit}. Send parts, or write by RMA.", EndpointChecks.LocalNameOf(RmaOperationKind.Send));
    }

    private static ValueTask WithoutResult(ValueTask<RmaReceiveResult> task)
    {
        return task.IsCompletedSuccessfully ? ValueTask.CompletedTask : new ValueTask(task.AsTask());
    }
}
