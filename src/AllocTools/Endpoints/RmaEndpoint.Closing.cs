using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints;

/// <content>Closes the endpoint: calls into the transport and the endpoint's thread stop, owners are notified, then the driver closes.</content>
public partial class RmaEndpoint
{
    /// <summary>
    /// How long closing waits for operations that the transport was asked to cancel: many times the time that a working
    /// transport needs.
    /// </summary>
    private static readonly TimeSpan RecallTime = TimeSpan.FromSeconds(2);

    /// <summary>How long closing waits for calls into the transport: many times the duration of a call that is not stuck.</summary>
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    /// <summary>How long closing waits for its own calls; closing a connection may take seconds.</summary>
    private static readonly TimeSpan CloseTime = TimeSpan.FromSeconds(10);

    /// <summary>The longest time for which disposing waits: for callers, for the thread, and for the calls that close.</summary>
    private static readonly TimeSpan MostCloseTime = (2 * StopTime) + CloseTime;

    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when the transport is closed, too. If a call is stuck, that is after <see cref="DisposeAsync"/> returns.</summary>
    internal Task Closed => _closed.Task;

    /// <summary>
    /// Closes the endpoint. Outstanding operations fail, and their buffers are free once this call returns. If a call into
    /// the transport does not return, this call stops waiting: after 2 s for a caller's call, 2 s for a call by the
    /// endpoint's thread, and 10 s for the calls that close the endpoint. It logs that, and closing continues once those
    /// calls have returned; until then the buffers are quarantined. A second call does nothing. Never throws.
    /// </summary>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        if (TryBeginClosing(out Task? closed) && !closed.Wait(MostCloseTime))
            Log.EndpointStuck(_context.Health.Logger, _context.Traits.ProviderName);
    }

    /// <inheritdoc cref="Dispose"/>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        if (!TryBeginClosing(out Task? closed))
            return;
        try
        {
            await closed.WaitAsync(MostCloseTime).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            Log.EndpointStuck(_context.Health.Logger, _context.Traits.ProviderName);
        }
    }

    /// <summary>Closes the endpoint on a separate thread, which may have to wait forever.</summary>
    /// <param name="closed">Completes when the endpoint is closed, or when a call is stuck and the owners of operations
    /// have been notified.</param>
    /// <returns>False if the endpoint was already closed.</returns>
    private bool TryBeginClosing([NotNullWhen(true)] out Task? closed)
    {
        closed = null;
        if (!_gate.TryClose())
            return false;
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        closed = done.Task;
        _states.Close();
        _starter.Loop?.LeaveIfCurrent();
        Thread closing = new(() =>
        {
            try
            {
                Close(done);
            }
            catch (Exception e)
            {
                // All exceptions are caught, because on a separate thread they would end the process.
                _context.Health.ReportUnexpected("closing", e);
            }
            finally
            {
                done.TrySetResult();
            }
        }) { IsBackground = true, Name = "AllocTools closing" };
        closing.Start();
        return true;
    }

    private void Close(TaskCompletionSource stuck)
    {
        bool isIdle = _gate.Empty.Wait(StopTime);
        _starter.EndWaiting();
        ProgressLoop? loop = _starter.Loop;
        bool hasStopped = loop is null || loop.TryStop(StopTime);
        if (hasStopped && isIdle && _driver.MustRecallBeforeClosing)
            _starter.Progress.PostWaiting();
        // Owners are notified now, however long closing takes.
        _starter.Progress.FailAll(fabricIsDone: false);
        // Asynchronously, because code that awaits the operations could otherwise continue on this thread.
        _ = _delays.CancelAsync();
        _notifications.Close();
        if (!isIdle || !hasStopped)
        {
            Log.EndpointStuck(_context.Health.Logger, _context.Traits.ProviderName);
            stuck.SetResult();
        }
        Task.WhenAll(_gate.Empty, loop?.Ended ?? Task.CompletedTask).Wait();
        _driver.LeavesUnanswered = _starter.Progress.HasUnanswered();
        bool isRecalled = _driver.MustRecallBeforeClosing && _starter.Progress.TryRecall(RecallTime);
        bool isDone = _driver.Close(isRecalled);
        _peers.Close();
        _starter.Progress.FailAll(fabricIsDone: isDone);
        if (isDone)
            _starter.Progress.Completions.ReleaseKept();
        else
            _driver.WhenDone(ReleaseAll);
        // Disposed last, because cancelling an operation may wake the loop until the operation has ended.
        _starter.Dispose();
        _contextLease.Dispose();
        if (isDone)
            _closed.TrySetResult();
    }

    /// <summary>Releases resources that closing had to keep.</summary>
    private void ReleaseAll()
    {
        try
        {
            _starter.Progress.FailAll(fabricIsDone: true);
            _starter.Progress.Completions.ReleaseKept();
        }
        catch (Exception e)
        {
            // All exceptions are caught, because they would prevent the endpoint from being closed.
            _context.Health.ReportUnexpected("closing", e);
        }
        _closed.TrySetResult();
    }
}
