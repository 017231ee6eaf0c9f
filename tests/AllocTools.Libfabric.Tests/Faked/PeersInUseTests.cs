using System.Text;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Tests peers that are removed while operations with them run.</summary>
public sealed class PeersInUseTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    // libfabric crashes if an operation is posted to a peer that it has forgotten.
    [Fact]
    public async Task WhatIsPostedOrQueuedGoesOnAndThePeerIsForgottenAfterIt()
    {
        using var world = new FakeWorld(FakeMode.Tcp, depth: 1);
        await using var pair = new EndpointPair(world.Name);
        IRmaEndpoint from = pair.Left.Endpoint;
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = from.Import(pair.Left.Peer, exposure.Remote);
        world.End(FakeEnding.Held);
        Task[] writes = [.. Enumerable.Range(0, 3).Select(_ => from.WriteAsync(source, region, cancellationToken: Token).AsTask())];
        from.RemovePeer(pair.Left.Peer);
        Assert.False(world.Calls.ContainsKey("fi_av_remove"));
        world.End(FakeEnding.AtOnce);
        await Task.WhenAll(writes);
        RmaPeer other = from.InsertPeer(from.Address.Span);
        Assert.Equal(1, world.Calls["fi_av_remove"]);
        from.RemovePeer(other);
        Assert.Equal(2, world.Calls["fi_av_remove"]);
    }

    // The vector has 64 places.
    [Fact]
    public async Task APeerThatComesBackWhileItsOperationsRunTakesNoPlaceMore()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        IRmaEndpoint from = pair.Left.Endpoint;
        using RmaBuffer message = pair.Left.Pool.Rent(8);
        RmaPeer peer = pair.Left.Peer;
        world.End(FakeEnding.Held);
        List<Task> sends = [];
        for (int i = 0; i < 200; i++)
        {
            sends.Add(from.SendAsync(message, peer, cancellationToken: Token).AsTask());
            from.RemovePeer(peer);
            peer = from.InsertPeer(pair.Right.Endpoint.Address.Span);
        }
        Assert.Equal(2, world.Calls["fi_av_insert"]);
        world.End(FakeEnding.AtOnce);
        await Task.WhenAll(sends);
    }

    // For example, a name and a number may stand for the same address.
    [Fact]
    public async Task AnAddressThatIsSpeltOtherwiseIsTheSamePeer()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        IRmaEndpoint from = pair.Left.Endpoint;
        string address = Encoding.ASCII.GetString(EndpointAddress.Parse(pair.Right.Endpoint.Address.Span, out _, out _));
        RmaPeer again = from.InsertPeer(Encoding.ASCII.GetBytes(address.Insert(address.LastIndexOf(':') + 1, "0")));
        Assert.Equal(pair.Left.Peer, again);
        from.RemovePeer(pair.Left.Peer);
        using RmaBuffer message = pair.Left.Pool.Rent(8);
        await from.SendAsync(message, again, cancellationToken: Token);
        from.RemovePeer(again);
        await Assert.ThrowsAsync<ArgumentException>(() => from.SendAsync(message, again, cancellationToken: Token).AsTask());
    }

    // sockets of libfabric 2.x behaves like this: its vector does not forget a peer that nothing was sent to.
    [Fact]
    public async Task APeerThatTheTransportWontForgetIsRemovedAllTheSame()
    {
        using var world = new FakeWorld(FakeMode.Tcp, isStrict: true);
        await using var pair = new EndpointPair(world.Name);
        IRmaEndpoint from = pair.Left.Endpoint;
        using RmaBuffer message = pair.Left.Pool.Rent(8);
        for (int i = 0; i < 3; i++)
        {
            RmaPeer old = pair.Left.Peer;
            from.RemovePeer(old);
            await Assert.ThrowsAsync<ArgumentException>(() => from.SendAsync(message, old, cancellationToken: Token).AsTask());
            Assert.Throws<ArgumentException>(() => from.RemovePeer(old));
            pair.Left.Peer = from.InsertPeer(pair.Right.Endpoint.Address.Span);
            Assert.NotEqual(old, pair.Left.Peer);
        }
        await from.SendAsync(message, pair.Left.Peer, cancellationToken: Token);
        from.RemovePeer(pair.Left.Peer);
        Assert.Equal(4, world.Calls["fi_av_remove"]);
    }

    // Another error may be temporary: removing the peer is tried again when something else is removed or inserted.
    [Fact]
    public async Task APeerThatCouldNotBeForgottenIsForgottenLater()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        IRmaEndpoint from = pair.Left.Endpoint;
        world.Fail("fi_av_remove", FiErrno.FI_EBUSY);
        from.RemovePeer(pair.Left.Peer);
        RmaPeer self = from.InsertPeer(from.Address.Span);
        Assert.Equal(2, world.Calls["fi_av_remove"]);
        from.RemovePeer(self);
        Assert.Equal(3, world.Calls["fi_av_remove"]);
    }
}
