using System.Collections.Concurrent;

namespace AllocTools.Mpi;

/// <summary>
/// The thread that initializes MPI and, at the end of the process, finalizes it: the standard wants one thread for both. In
/// between it looks after what no endpoint does.
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

    /// <param name="hasWork">There is something to look after; any thread asks.</param>
    /// <param name="look">Looks after it; true where something has happened.</param>
    /// <param name="onFailure">That has failed, and is tried again after a while.</param>
    public MpiThread(Func<bool> hasWork, Func<bool> look, Action<RmaException> onFailure)
    {
        _hasWork = hasWork;
        _look = look;
        _onFailure = onFailure;
        new Thread(Run) { IsBackground = true, Name = "AllocTools MPI" }.UnsafeStart();
    }

    /// <summary>Has the thread do something.</summary>
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
                // The caller's, whatever it is.
                done.SetException(e);
            }
        });
        return done.Task;
    }

    /// <summary>There may be something to look after.</summary>
    public void Wake() => _work.Add(static () => { });

    /// <summary>Nothing comes any more.</summary>
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

    /// <returns>When to look again.</returns>
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
