using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>Tests readers of notifications that will never arrive.</summary>
public sealed class NotificationEndingTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ClosingEndsTheReadersThoughATurnIsStuck()
    {
        await using var side = new DrivenEndpoint(RmaProgress.Endpoint);
        side.Driver.Report(c => c.Notify(1, sender: null));
        side.AssertSoon(() => side.Endpoint.GetStatistics().UnreadNotifications == 1);
        using var release = new ManualResetEventSlim();
        using var stuck = new ManualResetEventSlim();
        side.Driver.OnRead = () =>
        {
            stuck.Set();
            release.Wait(TestTime.Seconds(60), CancellationToken.None);
        };
        try
        {
            // This wakes the endpoint's thread. What that progress turn reports no longer reaches any reader.
            side.Driver.Report(c => c.Notify(2, sender: null));
            Assert.True(stuck.Wait(TestTime.Seconds(30), Token));
            Task<List<ulong>> reading = ReadAsync(side.Endpoint);
            // Notifications written while the progress turn is stuck don't count as lost for lack of room.
            side.Driver.Report(c => c.Notify(3, sender: null));
            Task closing = side.Endpoint.DisposeAsync().AsTask();
            Assert.Equal([1UL], await reading.WaitAsync(TestTime.Seconds(30), Token));
            await closing;
            Assert.False(((RmaEndpoint)side.Endpoint).Closed.IsCompleted);
        }
        finally
        {
            release.Set();
        }
        await ((RmaEndpoint)side.Endpoint).Closed.WaitAsync(TestTime.Seconds(30), Token);
        Assert.Equal(0, side.Endpoint.GetStatistics().LostNotifications);
        Assert.Empty(await ReadAsync(side.Endpoint));
    }

    [Theory]
    [InlineData(RmaProgress.Caller)]
    [InlineData(RmaProgress.Endpoint)]
    public async Task AnEndpointThatFailsEndsTheReadersWithItsErrorOnceTheyHaveReadWhatIsThere(RmaProgress progress)
    {
        await using var side = new DrivenEndpoint(progress);
        Task<List<ulong>> waiting = ReadAsync(side.Endpoint);
        side.Driver.Report(c => c.Notify(1, sender: null));
        side.Driver.Report(c => c.Notify(2, sender: null));
        side.Driver.Report(static _ => throw new RmaException("the device is gone", 5, "EIO"));
        var failure = await Assert.ThrowsAsync<RmaException>(() => side.Await(waiting));
        Assert.Equal((5, "EIO"), (failure.ErrorCode, failure.ErrorName));
        Assert.Contains("the device is gone", failure.Message, StringComparison.Ordinal);
        Assert.Equal([1UL, 2], Assert.IsType<List<ulong>>(failure.Data["read"]));
        // Later readers get the same error, and so do callers who poll.
        Assert.Empty(Assert.IsType<List<ulong>>((await Assert.ThrowsAsync<RmaException>(() => ReadAsync(side.Endpoint))).Data["read"]));
        Assert.Contains("the device is gone", Assert.Throws<RmaException>(() => side.Endpoint.PollNotifications(new RmaNotification[1])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhoPollsGetsWhatIsThereBeforeTheError()
    {
        await using var side = new DrivenEndpoint();
        side.Driver.Report(c => c.Notify(1, sender: null));
        side.Driver.Report(static _ => throw new RmaException("the device is gone"));
        side.Endpoint.Poll([]);
        Assert.Equal(RmaEndpointState.Failed, side.Endpoint.GetStatistics().State);
        Assert.Equal(0, side.Endpoint.PollNotifications([]));
        var room = new RmaNotification[2];
        Assert.Equal(1, side.Endpoint.PollNotifications(room));
        Assert.Equal(1UL, room[0].Value);
        Assert.Throws<RmaException>(() => side.Endpoint.PollNotifications(room));
    }

    // Some notifications are read before, and some after, the progress turn that finds no room for another one.
    [Fact]
    public async Task WhoPollsLosesNoneOfThoseThatHeTakesWhileAnotherIsLost()
    {
        await using var side = new DrivenEndpoint(configure: o => o.MaxNotifications = 3);
        side.Driver.Report(c => c.Notify(1, sender: null));
        side.Endpoint.Poll([]);
        for (ulong i = 2; i <= 5; i++)
        {
            ulong value = i;
            side.Driver.Report(c => c.Notify(value, sender: null));
        }
        var room = new RmaNotification[8];
        Assert.Equal(4, side.Endpoint.PollNotifications(room));
        Assert.Equal([1UL, 2, 3, 4], room[..4].Select(n => n.Value));
        Assert.Equal(1, Assert.Throws<RmaNotificationsLostException>(() => side.Endpoint.PollNotifications(room)).Count);
        Assert.Equal(0, side.Endpoint.PollNotifications(room));
    }

    private static async Task<List<ulong>> ReadAsync(IRmaEndpoint endpoint)
    {
        List<ulong> read = [];
        try
        {
            await foreach (RmaNotification notification in endpoint.ReadNotificationsAsync(Token))
                read.Add(notification.Value);
        }
        catch (RmaException e)
        {
            e.Data["read"] = read;
            throw;
        }
        return read;
    }
}
