using System.Runtime.ExceptionServices;

namespace WorkerService.Transfer;

/// <summary>Tasks that belong together: the first one that fails cancels the rest, and its failure is the group's.</summary>
internal sealed class TaskGroup
{
    private readonly CancellationTokenSource _stop;
    private readonly TaskCompletionSource _allEnded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _running;
    private ExceptionDispatchInfo? _failure;

    private TaskGroup(CancellationTokenSource stop) => _stop = stop;

    /// <summary>Cancelled when the group is, or a task of it fails.</summary>
    public CancellationToken Token => _stop.Token;

    /// <summary>Runs a task that may run others in the same group, and waits for all of them.</summary>
    public static async Task RunAsync(Func<TaskGroup, Task> body, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var group = new TaskGroup(stop);
        group.Run(_ => body(group));
        await group._allEnded.Task;
        group._failure?.Throw();
    }

    /// <summary>Runs a task. Called from tasks of the group only, so that the group can't end meanwhile.</summary>
    public void Run(Func<CancellationToken, Task> task)
    {
        Interlocked.Increment(ref _running);
        _ = FollowAsync(task);
    }

    private async Task FollowAsync(Func<CancellationToken, Task> task)
    {
        try
        {
            await task(Token);
        }
        catch (Exception e)
        {
            Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
            await _stop.CancelAsync();
        }
        finally
        {
            if (Interlocked.Decrement(ref _running) == 0)
                _allEnded.SetResult();
        }
    }
}
