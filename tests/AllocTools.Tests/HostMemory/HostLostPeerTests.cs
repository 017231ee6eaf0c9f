using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.HostMemory;

/// <summary>Tests a peer whose endpoint was closed: operations to it fail as on a fabric, and its loss is reported.</summary>
public sealed class HostLostPeerTests
{
    [Fact]
    public async Task OperationsToAClosedEndpointFailAtOnceAndItsLossIsReported()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        using IRmaContext context = new HostProvider().Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        IRmaEndpoint other = context.OpenEndpoint();
        RmaPeer peer = endpoint.InsertPeer(other.Address.Span);
        using RmaBuffer buffer = pool.Rent(64);
        using RmaBuffer target = pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = endpoint.Import(peer, exposure.Remote);
        await endpoint.WriteAsync(buffer, region, cancellationToken: token);
        await using IAsyncEnumerator<RmaPeerChange> lost = endpoint.ReadPeerChangesAsync(token).GetAsyncEnumerator(token);
        other.Dispose();
        Assert.True(await lost.MoveNextAsync());
        Assert.Equal(peer, lost.Current.Peer);
        Exception? write = await Record.ExceptionAsync(() => endpoint.WriteAsync(buffer, region, cancellationToken: token).AsTask());
        Exception? send = await Record.ExceptionAsync(() => endpoint.SendAsync(buffer, peer, cancellationToken: token).AsTask());
        Assert.Throws<RmaPeerLostException>(() => { endpoint.TryPost(RmaOperation.Send(buffer, peer)); });
        Assert.Equal(peer, Assert.IsType<RmaPeerLostException>(write).Peer);
        Assert.True(Assert.IsType<RmaPeerLostException>(send).IsTransient);
        endpoint.Dispose();
        Assert.False(await lost.MoveNextAsync());
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, true)]
    public void TheEndOfAPeerThatAllAreFinishedWithIsNotReported(int insertions, bool isReported)
    {
        using IRmaContext context = new HostProvider().Open();
        using var endpoint = (RmaEndpoint)context.OpenEndpoint();
        IRmaEndpoint other = context.OpenEndpoint();
        RmaPeer peer = default;
        for (int i = 0; i < insertions; i++)
            peer = endpoint.InsertPeer(other.Address.Span);
        endpoint.FinishPeer(peer);
        other.Dispose();
        Assert.True(peer.Entry!.IsLost);
        Assert.Equal(isReported ? 1 : 0, endpoint.GetStatistics().PeerChanges[RmaPeerState.Lost]);
    }

    [Fact]
    public void ItIsReportedWhereOneThatWasFinishedHasRemovedIt()
    {
        using IRmaContext context = new HostProvider().Open();
        using var endpoint = (RmaEndpoint)context.OpenEndpoint();
        IRmaEndpoint other = context.OpenEndpoint();
        RmaPeer peer = endpoint.InsertPeer(other.Address.Span);
        endpoint.InsertPeer(other.Address.Span);
        endpoint.FinishPeer(peer);
        endpoint.RemovePeer(peer, isFinished: true);
        other.Dispose();
        Assert.True(peer.Entry!.IsLost);
        Assert.Equal(1, endpoint.GetStatistics().PeerChanges[RmaPeerState.Lost]);
    }
}
