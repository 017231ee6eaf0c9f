using AllocTools.Testing;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>Tests the job's thread: work that fails on it ends neither the process nor the thread's checks.</summary>
public sealed class MpiThreadTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AFailureIsReportedAndItLooksAgain()
    {
        TaskCompletionSource<string> failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource again = new(TaskCreationOptions.RunContinuationsAsynchronously);
        int looks = 0;
        MpiThread thread = new(() => !again.Task.IsCompleted, Look, e => failed.SetResult(e.Message));
        Assert.Equal("MPI_Improbe failed", await failed.Task.WaitAsync(TestTime.Seconds(30), Token));
        await again.Task.WaitAsync(TestTime.Seconds(30), Token);
        thread.End();

        bool Look()
        {
            if (++looks == 1)
                throw new RmaProviderException("MPI_Improbe failed");
            again.TrySetResult();
            return false;
        }
    }

    /// <summary>Otherwise a process with contexts but no endpoint would not serve other ranks.</summary>
    [Fact]
    public async Task ItLooksOnceItIsWokenForWork()
    {
        TaskCompletionSource looked = new(TaskCreationOptions.RunContinuationsAsynchronously);
        bool hasWork = false;
        MpiThread thread = new(() => Volatile.Read(ref hasWork), () => looked.TrySetResult(), static e => throw e);
        await thread.RunAsync(static () => { }).WaitAsync(TestTime.Seconds(30), Token);
        Assert.False(looked.Task.IsCompleted);
        Volatile.Write(ref hasWork, true);
        thread.Wake();
        await looked.Task.WaitAsync(TestTime.Seconds(30), Token);
        thread.End();
    }

    /// <summary>Requested work runs on the thread, and its failure is reported to the caller.</summary>
    [Fact]
    public async Task AFailureOfWorkIsTheCallers()
    {
        MpiThread thread = new(static () => false, static () => false, static e => throw e);
        Task work = thread.RunAsync(static () => throw new RmaProviderException("MPI_Init_thread failed"));
        Assert.Equal("MPI_Init_thread failed", (await Assert.ThrowsAsync<RmaProviderException>(() => work.WaitAsync(TestTime.Seconds(30), Token))).Message);
        thread.End();
    }
}
