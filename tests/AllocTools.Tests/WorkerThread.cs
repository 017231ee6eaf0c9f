using System.Collections.Concurrent;

namespace AllocTools.Tests;

/// <summary>A thread that runs given actions, and sleeps in between.</summary>
internal sealed class WorkerThread : IDisposable
{
    private readonly BlockingCollection<(Action Work, TaskCompletionSource Done)> _work = [];
    private readonly Thread _thread;

    public WorkerThread()
    {
        _thread = new Thread(Loop) { IsBackground = true };
        _thread.Start();
    }

    /// <summary>Runs an action on the thread, and waits for it.</summary>
    public void Run(Action work)
    {
        TaskCompletionSource done = new();
        _work.Add((work, done));
        done.Task.GetAwaiter().GetResult();
    }

    public void Dispose()
    {
        _work.CompleteAdding();
        _thread.Join();
        _work.Dispose();
    }

    private void Loop()
    {
        foreach ((Action work, TaskCompletionSource done) in _work.GetConsumingEnumerable())
        {
            try
            {
                work();
                done.SetResult();
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        }
    }
}
