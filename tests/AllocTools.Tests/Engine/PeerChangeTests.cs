using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Testing;
using Microsoft.Extensions.Logging.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>Tests the changes that an endpoint reports of its peers: lost, back, slow, and no longer slow.</summary>
public sealed class PeerChangeTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(2);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task APeerThatIsInsertedAgainAfterItsLossIsReportedAsBack()
    {
        await using var side = new DrivenEndpoint();
        await using IAsyncEnumerator<RmaPeerChange> changes = Read(side);
        side.Driver.Lose(side.Peer);
        Assert.Equal((0, 1), (side.Endpoint.GetStatistics().Peers[RmaPeerState.Up], side.Endpoint.GetStatistics().Peers[RmaPeerState.Lost]));
        RmaPeer back = side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
        await AssertNext(changes, side.Peer, RmaPeerState.Lost);
        await AssertNext(changes, back, RmaPeerState.Up);
        Assert.NotEqual(side.Peer, back);
        AssertStatistics(side, (RmaPeerState.Up, 1, 1), (RmaPeerState.Slow, 0, 0), (RmaPeerState.Lost, 0, 1));
        await side.Endpoint.DisposeAsync();
        Assert.False(await changes.MoveNextAsync());
    }

    [Fact]
    public async Task ALostPeerThatIsRemovedAndInsertedLaterIsReportedAsBack()
    {
        await using var side = new DrivenEndpoint();
        await using IAsyncEnumerator<RmaPeerChange> changes = Read(side);
        side.Driver.Lose(side.Peer);
        side.Endpoint.RemovePeer(side.Peer);
        AssertStatistics(side, (RmaPeerState.Up, 0, 0), (RmaPeerState.Slow, 0, 0), (RmaPeerState.Lost, 0, 1));
        // A failed insertion changes nothing about that.
        side.Driver.OnInsert = static () => throw new RmaProviderException("the test says so", 5, "EIO");
        Assert.Throws<RmaProviderException>(() => side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress));
        side.Driver.OnInsert = static () => { };
        RmaPeer back = side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
        await AssertNext(changes, side.Peer, RmaPeerState.Lost);
        await AssertNext(changes, back, RmaPeerState.Up);
        AssertStatistics(side, (RmaPeerState.Up, 1, 1), (RmaPeerState.Slow, 0, 0), (RmaPeerState.Lost, 0, 1));
    }

    // On shm, a driver may wait for a lock that a killed process still holds.
    [Fact]
    public async Task StatisticsDoNotWaitForAnInsertion()
    {
        await using var side = new DrivenEndpoint();
        using var begun = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        side.Driver.OnInsert = () =>
        {
            begun.Set();
            go.Wait(Token);
        };
        Task insertion = Task.Run(() => side.Endpoint.InsertPeer([9]), Token);
        begun.Wait(Token);
        Assert.Equal(1, (await Task.Run(side.Endpoint.GetStatistics, Token).WaitAsync(TestTime.Seconds(30), Token)).Peers[RmaPeerState.Up]);
        go.Set();
        await insertion;
        Assert.Equal(2, side.Endpoint.GetStatistics().Peers[RmaPeerState.Up]);
    }

    [Fact]
    public async Task APeerThatWasNotLostIsNotReportedWhereItIsInsertedAgain()
    {
        await using var side = new DrivenEndpoint();
        await using IAsyncEnumerator<RmaPeerChange> changes = Read(side);
        side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
        side.Endpoint.InsertPeer([9]);
        await side.Endpoint.DisposeAsync();
        Assert.False(await changes.MoveNextAsync());
    }

    [Fact]
    public async Task APeerIsSlowAsLongAsAnOperationWithItIsOverdue()
    {
        var time = new FakeTimeProvider();
        var log = new FakeLogger();
        await using var side = new DrivenEndpoint(configure: o => o.SlowPeerTime = Limit, logger: log, time: time);
        await using IAsyncEnumerator<RmaPeerChange> changes = Read(side);
        using RmaBuffer buffer = side.Pool.Rent(64);
        Task send = side.Endpoint.SendAsync(buffer, side.Peer, Timeout.InfiniteTimeSpan, Token).AsTask();
        // The first check finds the operation, which is overdue once the limit has passed after that.
        Advance(time, TimeSpan.FromMilliseconds(250));
        Advance(time, Limit - TimeSpan.FromMilliseconds(250));
        Assert.Equal(0, side.Endpoint.GetStatistics().PeerChanges[RmaPeerState.Slow]);
        Advance(time, TimeSpan.FromMilliseconds(250));
        await AssertNext(changes, side.Peer, RmaPeerState.Slow, "outstanding for 2 s");
        AssertStatistics(side, (RmaPeerState.Up, 0, 0), (RmaPeerState.Slow, 1, 1), (RmaPeerState.Lost, 0, 0));
        Advance(time, 5 * Limit);
        side.Driver.CompleteKept();
        await side.Await(send);
        Advance(time, TimeSpan.FromMilliseconds(250));
        await AssertNext(changes, side.Peer, RmaPeerState.Up, "overdue");
        AssertStatistics(side, (RmaPeerState.Up, 1, 1), (RmaPeerState.Slow, 0, 1), (RmaPeerState.Lost, 0, 0));
        Assert.Equal([57, 58], log.Collector.GetSnapshot().Select(r => r.Id.Id).Where(id => id is >= 50 and < 60));
    }

    // The transport still has the operation, so nothing shows that the peer has become faster.
    [Fact]
    public async Task APeerStaysSlowWhoseOperationHasTimedOut()
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(configure: o => o.SlowPeerTime = Limit, time: time);
        side.Driver.OnPost = static _ => RmaPostResult.Posted;
        using RmaBuffer buffer = side.Pool.Rent(64);
        Task send = side.Endpoint.SendAsync(buffer, side.Peer, 2 * Limit, Token).AsTask();
        Advance(time, 3 * Limit);
        side.Endpoint.Poll([]);
        Advance(time, Limit);
        await Assert.ThrowsAsync<RmaTimeoutException>(() => side.Await(send));
        Advance(time, Limit);
        AssertStatistics(side, (RmaPeerState.Up, 0, 0), (RmaPeerState.Slow, 1, 1), (RmaPeerState.Lost, 0, 0));
        Assert.Equal(1, side.Endpoint.GetStatistics().Abandoned);
    }

    [Fact]
    public async Task ThePeerThatIsBehindIsSlowAndNotTheOthers()
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(configure: o => o.SlowPeerTime = Limit, time: time);
        await using IAsyncEnumerator<RmaPeerChange> changes = Read(side);
        RmaPeer other = side.Endpoint.InsertPeer([9]);
        using RmaBuffer buffer = side.Pool.Rent(64);
        side.Driver.OnPost = o => o.Peer!.Number == side.Peer.Handle ? RmaPostResult.Posted : side.Driver.TakeAndComplete(o);
        _ = side.Endpoint.SendAsync(buffer, side.Peer, Timeout.InfiniteTimeSpan, Token).AsTask();
        for (TimeSpan passed = TimeSpan.Zero; passed < 3 * Limit; passed += TimeSpan.FromMilliseconds(250))
        {
            await side.Await(side.Endpoint.SendAsync(buffer, other, cancellationToken: Token).AsTask());
            Advance(time, TimeSpan.FromMilliseconds(250));
        }
        await AssertNext(changes, side.Peer, RmaPeerState.Slow);
        AssertStatistics(side, (RmaPeerState.Up, 1, 0), (RmaPeerState.Slow, 1, 1), (RmaPeerState.Lost, 0, 0));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task SeveralPeersAreSlowWhereOthersEndOrAfterTwiceTheTime(bool othersEnd)
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(configure: o => o.SlowPeerTime = Limit, time: time);
        RmaPeer second = side.Endpoint.InsertPeer([8]);
        RmaPeer quick = side.Endpoint.InsertPeer([9]);
        using RmaBuffer buffer = side.Pool.Rent(64);
        side.Driver.OnPost = o => o.Peer!.Number != quick.Handle ? RmaPostResult.Posted : side.Driver.TakeAndComplete(o);
        _ = side.Endpoint.SendAsync(buffer, side.Peer, Timeout.InfiniteTimeSpan, Token).AsTask();
        _ = side.Endpoint.SendAsync(buffer, second, Timeout.InfiniteTimeSpan, Token).AsTask();
        for (TimeSpan passed = TimeSpan.Zero; passed < 1.5 * Limit; passed += TimeSpan.FromMilliseconds(250))
        {
            if (othersEnd)
                await side.Await(side.Endpoint.SendAsync(buffer, quick, cancellationToken: Token).AsTask());
            Advance(time, TimeSpan.FromMilliseconds(250));
        }
        Assert.Equal(othersEnd ? 2 : 0, side.Endpoint.GetStatistics().PeerChanges[RmaPeerState.Slow]);
        Advance(time, Limit);
        Assert.Equal(2, side.Endpoint.GetStatistics().PeerChanges[RmaPeerState.Slow]);
        Assert.Equal(2, side.Endpoint.GetStatistics().Peers[RmaPeerState.Slow]);
    }

    [Fact]
    public async Task ALostPeerIsNotReportedAsSlowAndComesBackUp()
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(configure: o => o.SlowPeerTime = Limit, time: time);
        await using IAsyncEnumerator<RmaPeerChange> changes = Read(side);
        side.Driver.OnPost = static _ => RmaPostResult.Posted;
        using RmaBuffer buffer = side.Pool.Rent(64);
        _ = side.Endpoint.SendAsync(buffer, side.Peer, Timeout.InfiniteTimeSpan, Token).AsTask();
        Advance(time, 2 * Limit);
        side.Driver.Lose(side.Peer);
        Advance(time, 2 * Limit);
        RmaPeer back = side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
        Advance(time, 2 * Limit);
        await AssertNext(changes, side.Peer, RmaPeerState.Slow);
        await AssertNext(changes, side.Peer, RmaPeerState.Lost);
        await AssertNext(changes, back, RmaPeerState.Up, "inserted again");
        AssertStatistics(side, (RmaPeerState.Up, 1, 1), (RmaPeerState.Slow, 0, 1), (RmaPeerState.Lost, 0, 1));
    }

    [Fact]
    public async Task NoPeerIsSlowWhereTheOptionIsNever()
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(configure: o => o.SlowPeerTime = Timeout.InfiniteTimeSpan, time: time);
        using RmaBuffer buffer = side.Pool.Rent(64);
        Task send = side.Endpoint.SendAsync(buffer, side.Peer, Timeout.InfiniteTimeSpan, Token).AsTask();
        Advance(time, TimeSpan.FromHours(1));
        Assert.Equal(0, side.Endpoint.GetStatistics().PeerChanges[RmaPeerState.Slow]);
        side.Driver.CompleteKept();
        await side.Await(send);
    }

    /// <summary>The watch's timer ticks each 250 ms.</summary>
    private static void Advance(FakeTimeProvider time, TimeSpan by)
    {
        for (TimeSpan passed = TimeSpan.Zero; passed < by; passed += TimeSpan.FromMilliseconds(250))
            time.Advance(TimeSpan.FromMilliseconds(250));
    }

    private static IAsyncEnumerator<RmaPeerChange> Read(DrivenEndpoint side) => side.Endpoint.ReadPeerChangesAsync(Token).GetAsyncEnumerator(Token);

    private static async Task AssertNext(IAsyncEnumerator<RmaPeerChange> changes, RmaPeer peer, RmaPeerState state, string reason = "")
    {
        Assert.True(await changes.MoveNextAsync().AsTask().WaitAsync(TestTime.Seconds(30), Token));
        Assert.Equal((peer, state), (changes.Current.Peer, changes.Current.State));
        Assert.Contains(reason, changes.Current.Reason, StringComparison.Ordinal);
    }

    private static void AssertStatistics(DrivenEndpoint side, params (RmaPeerState State, int Peers, long Changes)[] expected)
    {
        RmaEndpointStatistics now = side.Endpoint.GetStatistics();
        Assert.Equal(expected, Enum.GetValues<RmaPeerState>().Select(s => (s, now.Peers[s], now.PeerChanges[s])));
    }
}
