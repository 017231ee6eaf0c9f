using System.Diagnostics.CodeAnalysis;
using AllocTools.Diagnostics;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Endpoints;

/// <content>Its end: calls into the transport and its thread stop, owners are notified, then the driver closes.</content>
public partial class RmaEndpoint
{
    /// <summary>How long closing waits for what a transport is asked to give up: many times what one takes that will.</summary>
    private static readonly TimeSpan RecallTime = TimeSpan.FromSeconds(2);

    /// <summary>How long closing waits for calls into the transport: many times what one takes that is not stuck.</summary>
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(2);

    /// <summary>How long closing waits for its own calls; taking a connection down may take seconds.</summary>
    private static readonly TimeSpan CloseTime = TimeSpan.FromSeconds(10);

    /// <summary>All of these.</summary>
    private static readonly TimeSpan MostCloseTime = (2 * StopTime) + CloseTime;

    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when its transport is closed, too, which is later than <see cref="DisposeAsync"/> returns where something is stuck.</summary>
    internal Task Closed => _closed.Task;

    /// <summary>
    /// Closes the endpoint. Operations that are outstanding fail, and their buffers are free once this returns: closing
    /// drops them. Where a call into the transport does not return, this gives up: after 2 s for a caller's, 2 s for one
    /// of the endpoint's thread, 10 s for those that close it. It says so in the log, and closing goes on once they have
    /// returned; until then the buffers are quarantined. A second call does nothing; never throws.
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

    /// <summary>Closes on a thread of its own, which may have to wait for ever.</summary>
    /// <param name="closed">Completes when the endpoint is closed, or something is stuck and the owners of operations were notified.</param>
    /// <returns>False: it was closed before.</returns>
    private bool TryBeginClosing([NotNullWhen(true)] out Task? closed)
    {
        closed = null;
        if (!_gate.TryClose())
            return false;
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        closed = done.Task;
        _peers.Lost.Close();
        _starter.Loop?.LeaveIfCurrent();
        Thread closing = new(() =>
        {
            try
            {
                Close(done);
            }
            catch (Exception e)
            {
                // Of whatever kind: on a thread of its own it would end the process.
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
        // Owners are notified whatever closing takes.
        _starter.Progress.FailAll(fabricIsDone: false);
        _notifications.Close();
        if (!isIdle || !hasStopped)
        {
            Log.EndpointStuck(_context.Health.Logger, _context.Traits.ProviderName);
            stuck.SetResult();
        }
        Task.WhenAll(_gate.Empty, loop?.Ended ?? Task.CompletedTask).Wait();
        bool isRecalled = _driver.MustRecallBeforeClosing && _starter.Progress.TryRecall(RecallTime);
        bool isDone = _driver.Close(isRecalled);
        _peers.Close();
        _starter.Progress.FailAll(fabricIsDone: isDone);
        if (isDone)
            _starter.Progress.Completions.ReleaseKept();
        else
            _driver.WhenDone(ReleaseAll);
        // Last: until an operation is ended its cancellation may wake the loop.
        _starter.Dispose();
        _contextLease.Dispose();
        if (isDone)
            _closed.TrySetResult();
    }

    /// <summary>Gives back what closing had to keep.</summary>
    private void ReleaseAll()
    {
        try
        {
            _starter.Progress.FailAll(fabricIsDone: true);
            _starter.Progress.Completions.ReleaseKept();
        }
        catch (Exception e)
        {
            // Of whatever kind: it would keep the endpoint that is just closed from closing.
            _context.Health.ReportUnexpected("closing", e);
        }
        _closed.TrySetResult();
    }
}
