using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>Tests peers that are removed and inserted again, with a driver that knows nothing of generations.</summary>
public sealed class PeerTableTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(RmaProgress.Caller)]
    [InlineData(RmaProgress.Endpoint)]
    public async Task APeerThatComesBackIsAnotherOneWithAnotherNumber(RmaProgress progress)
    {
        await using var side = new DrivenEndpoint(progress);
        using RmaBuffer buffer = side.Pool.Rent(64);
        RmaPeer peer = side.Peer;
        for (int round = 1; round <= 3; round++)
        {
            side.Endpoint.RemovePeer(peer);
            Assert.Equal(round, side.Driver.Removed.Count);
            Assert.Empty(side.Driver.Peers);
            await Assert.ThrowsAsync<ArgumentException>(() => side.Endpoint.SendAsync(buffer, peer, cancellationToken: Token).AsTask());
            RmaPeer next = side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
            Assert.NotEqual(peer, next);
            Assert.NotEqual(peer.Handle, next.Handle);
            peer = next;
            Assert.Equal(peer.Handle, Assert.Single(side.Driver.Peers).Key);
            await AssertServes(side, buffer, peer);
        }
    }

    // UCX maps a key for a single connection.
    [Fact]
    public async Task ADriverIsGivenThePeerWhoseKeyItMaps()
    {
        await using var side = new DrivenEndpoint();
        RmaPeer other = side.Endpoint.InsertPeer([4, 5, 6]);
        using RemoteRegion first = side.Endpoint.Import(other, MemoryOfSomebody());
        using RemoteRegion second = side.Endpoint.Import(side.Peer, MemoryOfSomebody());
        Assert.Equal([other.Handle, side.Peer.Handle], side.Driver.Mapped.Select(static p => p.Number));

        static RemoteMemory MemoryOfSomebody() => new(0, 64, [1, 0, 0, 0], rawBase: 0, RmaAccess.RemoteWrite);
    }

    // The transport keeps the peer as long as any of its operations run.
    [Theory]
    [InlineData(RmaProgress.Caller)]
    [InlineData(RmaProgress.Endpoint)]
    public async Task APeerThatComesBackWhileItsOperationsRunHasItsNumberAndTheyGoOn(RmaProgress progress)
    {
        await using var side = new DrivenEndpoint(progress);
        using RmaBuffer buffer = side.Pool.Rent(64);
        Task running = side.Endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask();
        // One operation is posted, the other waits to be posted.
        side.Driver.OnPost = static _ => RmaPostResult.Full;
        Task queued = side.Endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask();
        side.Endpoint.RemovePeer(side.Peer);
        Assert.Empty(side.Driver.Removed);
        RmaPeer again = side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
        Assert.NotEqual(side.Peer, again);
        Assert.Equal(side.Peer.Handle, again.Handle);
        Task behind = side.Endpoint.SendAsync(buffer, again, cancellationToken: Token).AsTask();
        side.Driver.OnPost = side.Driver.Keep;
        side.AssertSoon(() =>
        {
            side.Driver.CompleteKept();
            return running.IsCompleted && queued.IsCompleted && behind.IsCompleted;
        });
        await Task.WhenAll(running, queued, behind);
        // Only this side forgets the removed peer: its number now belongs to the other one.
        side.Endpoint.RemovePeer(again);
        Assert.Equal([again.Handle], side.Driver.Removed);
        RmaPeer last = side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
        Assert.NotEqual(again.Handle, last.Handle);
        await AssertServes(side, buffer, last);
    }

    [Theory]
    [InlineData(RmaProgress.Caller)]
    [InlineData(RmaProgress.Endpoint)]
    public async Task APeerThatWasLostServesAgainOnceItIsInsertedAgain(RmaProgress progress)
    {
        await using var side = new DrivenEndpoint(progress);
        using RmaBuffer buffer = side.Pool.Rent(64);
        Task running = side.Endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask();
        side.Driver.Lose(side.Peer);
        Assert.Equal(side.Peer, (await Assert.ThrowsAsync<RmaPeerLostException>(() => side.Await(running))).Peer);
        await Assert.ThrowsAsync<RmaPeerLostException>(() => side.Endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask());
        RmaPeer again = side.Endpoint.InsertPeer(DrivenEndpoint.OtherAddress);
        Assert.NotEqual(side.Peer, again);
        await AssertServes(side, buffer, again);
    }

    private static async Task AssertServes(DrivenEndpoint side, RmaBuffer buffer, RmaPeer peer)
    {
        Task sending = side.Endpoint.SendAsync(buffer, peer, cancellationToken: Token).AsTask();
        Task<RmaReceiveResult> receiving = side.Endpoint.ReceiveAsync(buffer, cancellationToken: Token).AsTask();
        side.Driver.CompleteKept(side.Driver.Peers[peer.Handle]);
        await side.Await(sending);
        Assert.Equal(peer, (await side.Await(receiving)).Sender);
    }
}
