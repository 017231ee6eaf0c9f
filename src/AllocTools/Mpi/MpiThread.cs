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

    private readonly BlockingCollection<Action> _work = [];
    private readonly Func<bool> _hasWork;
    private readonly Func<bool> _look;

    /// <param name="hasWork">There is something to look after; any thread asks.</param>
    /// <param name="look">Looks after it; true where something has happened.</param>
    public MpiThread(Func<bool> hasWork, Func<bool> look)
    {
        _hasWork = hasWork;
        _look = look;
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

    private void Run()
    {
        TimeSpan pause = ShortestPause;
        while (true)
        {
            if (_work.TryTake(out Action? action, _hasWork() ? pause : Timeout.InfiniteTimeSpan))
            {
                action();
                pause = ShortestPause;
            }
            else
            {
                pause = _look() ? ShortestPause : pause < LongestPause / 2 ? pause * 2 : LongestPause;
            }
        }
    }
}
