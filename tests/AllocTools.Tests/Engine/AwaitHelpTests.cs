using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>Tests what an await does before it suspends, on a transport where operations don't complete on their own.</summary>
public sealed class AwaitHelpTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    // The thread that would advance the clock is the one that awaits.
    [Fact]
    public async Task AnAwaitEndsItsSpinThoughTheClockStandsStill()
    {
        var clock = new FakeTimeProvider();
        await using DrivenEndpoint driven = new(RmaProgress.Endpoint, o => o.SpinTime = TimeSpan.FromSeconds(1), time: clock);
        // Run on a dedicated thread: a pool thread would end its spin if other work is queued.
        Task<Task[]> starting = Task.Factory.StartNew(
            () => Enumerable.Range(0, 4).Select(Task (_) => driven.Endpoint.ReceiveAsync(driven.Pool.Rent(64), TimeSpan.FromSeconds(5), Token).AsTask()).ToArray(),
            Token,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        Task[] receiving = await starting.WaitAsync(TestTime.Seconds(30), Token);
        clock.Advance(TimeSpan.FromSeconds(6));
        clock.Advance(TimeSpan.FromSeconds(1));
        foreach (Task one in receiving)
            await Assert.ThrowsAsync<RmaTimeoutException>(() => one.WaitAsync(TestTime.Seconds(30), Token));
    }
}
