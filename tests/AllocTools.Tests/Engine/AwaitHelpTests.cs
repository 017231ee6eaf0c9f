using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>What an await does before it suspends, on a transport where nothing ends by itself.</summary>
public sealed class AwaitHelpTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    // The thread that moves the clock on is the one that awaits.
    [Fact]
    public async Task AnAwaitEndsItsSpinThoughTheClockStandsStill()
    {
        var clock = new FakeTimeProvider();
        await using DrivenEndpoint driven = new(RmaProgress.Endpoint, o => o.SpinTime = TimeSpan.FromSeconds(1), time: clock);
        // On a thread of its own: one of the pool would end its spin where others queue for it.
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
