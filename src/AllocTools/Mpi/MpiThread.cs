using System.Collections.Concurrent;

namespace AllocTools.Mpi;

/// <summary>
/// The thread that initializes MPI and, at the end of the process, finalizes it: the standard requires the same thread
/// for both. In between it does the work that no endpoint does.
/// </summary>
internal sealed class MpiThread
{
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromSeconds(1);

    private readonly BlockingCollection<Action> _work = [];
    private readonly Func<bool> _hasWork;
    private readonly Func<bool> _look;
    private readonly Action<RmaException> _onFailure;

    /// <param name="hasWork">Whether there is work; any thread may call this.</param>
    /// <param name="look">Does the work. Returns true if something has happened.</param>
    /// <param name="onFailure">Called if the work has failed; it is tried again after a while.</param>
    public MpiThread(Func<bool> hasWork, Func<bool> look, Action<RmaException> onFailure)
    {
        _hasWork = hasWork;
        _look = look;
        _onFailure = onFailure;
        new Thread(Run) { IsBackground = true, Name = "AllocTools MPI" }.UnsafeStart();
    }

    /// <summary>Runs an action on the thread.</summary>
    public Task RunAsync(Action action)
    {
        TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _work.Add(() =>
        {
            try
            {
                action();
                done.SetResult();
            }
            catch (Exception e)
            {
                // All exceptions are passed to the caller.
                done.SetException(e);
            }
        });
        return done.Task;
    }

    /// <summary>Called when there may be work.</summary>
    public void Wake() => _work.Add(static () => { });

    /// <summary>Called when there will be no more work.</summary>
    public void End() => _work.CompleteAdding();

    private void Run()
    {
        TimeSpan pause = ShortestPause;
        while (!_work.IsCompleted)
        {
            if (_work.TryTake(out Action? action, _hasWork() ? pause : Timeout.InfiniteTimeSpan))
            {
                action();
                pause = ShortestPause;
            }
            else if (!_work.IsCompleted)
            {
                pause = LookAfter(pause);
            }
        }
    }

    /// <returns>The time until the next check.</returns>
    private TimeSpan LookAfter(TimeSpan pause)
    {
        try
        {
            return _look() ? ShortestPause : pause < LongestPause / 2 ? pause * 2 : LongestPause;
        }
        catch (RmaException e)
        {
            _onFailure(e);
            return PauseAfterFailure;
        }
    }
}
