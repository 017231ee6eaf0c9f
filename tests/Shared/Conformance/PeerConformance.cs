using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Tests on each transport peers that are inserted, removed, and gone. Transports reuse their numbers.</summary>
public abstract class PeerConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ARemovedPeerIsNotTheNextOne(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        await using var other = new ConformingPair<TTransport>(mode);
        IRmaEndpoint from = pair.Left.Endpoint;
        RmaPeer old = pair.Left.Peer;
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion atOld = from.Import(old, exposure.Remote);
        // The transport must not apply what it knows of the old peer to the next one.
        await from.WriteAsync(source, atOld, cancellationToken: Token);
        from.RemovePeer(old);
        RmaPeer next = from.InsertPeer(other.Right.Endpoint.Address.Span);
        Assert.NotEqual(old, next);
        await AssertRemovedAsync(() => from.SendAsync(source, old, cancellationToken: Token));
        await AssertRemovedAsync(() => from.WriteAsync(source, atOld, cancellationToken: Token));
        Assert.Throws<ArgumentException>(() => from.RemovePeer(old));
        await pair.Left.AssertReachesAsync(next, other.Right);
        RmaPeer back = from.InsertPeer(pair.Right.Endpoint.Address.Span);
        Assert.NotEqual(old, back);
        await pair.Left.AssertReachesAsync(back, pair.Right);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task APeerThatWasInsertedTwiceStaysUntilItIsRemovedTwice(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        RmaPeer again = pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span);
        Assert.Equal(pair.Left.Peer, again);
        await pair.Left.AssertReachesAsync(again, pair.Right);
        pair.Left.Endpoint.RemovePeer(again);
        await pair.Left.AssertReachesAsync(pair.Left.Peer, pair.Right);
        pair.Left.Endpoint.RemovePeer(pair.Left.Peer);
        using RmaBuffer message = pair.Left.Pool.Rent(64);
        await AssertRemovedAsync(() => pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token));
        RmaPeer back = pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span);
        Assert.NotEqual(again, back);
        await pair.Left.AssertReachesAsync(back, pair.Right);
    }

    // With libfabric 1.17, an address of an unknown family prevents an address vector from accepting any other.
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatIsNoAddressIsRefusedAndChangesNothing(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        await using var other = new ConformingPair<TTransport>(mode);
        byte[] own = pair.Left.Endpoint.Address.ToArray();
        byte[][] wrong = [[], [1], [1, 2, 3], new byte[own.Length], own[..^1], [.. own, 0], "127.0.0.1:5000"u8.ToArray(), [.. Enumerable.Repeat((byte)255, 28)], [.. Enumerable.Repeat((byte)255, 4096)]];
        foreach (byte[] address in wrong)
        {
            RmaProviderException error = Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(address));
            Assert.Contains($"address of {address.Length} bytes", error.Message, StringComparison.Ordinal);
            Assert.Contains("same provider", error.Message, StringComparison.Ordinal);
        }
        await pair.Left.AssertReachesAsync(pair.Left.Endpoint.InsertPeer(other.Right.Endpoint.Address.Span), other.Right);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task EachCutOfAnAddressIsRefused(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        byte[] address = pair.Right.Endpoint.Address.ToArray();
        int own = EndpointAddress.Parse(address, out _, out _).Length;
        foreach (int length in Enumerable.Range(0, address.Length).Where(l => l != own))
            Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(address.AsSpan(0, length)));
    }

    // The address is given as a program that doesn't use this library has it.
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ATransportsOwnAddressIsTakenWithoutATrailer(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        await using var other = new ConformingPair<TTransport>(mode);
        byte[] own = EndpointAddress.Parse(other.Right.Endpoint.Address.Span, out _, out _).ToArray();
        await pair.Left.AssertReachesAsync(pair.Left.Endpoint.InsertPeer(own), other.Right);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task MemoryOfAnotherPeerIsRefused(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        await using var other = new ConformingPair<TTransport>(mode);
        using RmaBuffer buffer = other.Right.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        Assert.Contains("a different endpoint", Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote)).Message, StringComparison.Ordinal);
        RmaPeer owner = pair.Left.Endpoint.InsertPeer(other.Right.Endpoint.Address.Span);
        using RemoteRegion fits = pair.Left.Endpoint.Import(owner, exposure.Remote);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task MemoryOfAnotherKindOfTransportIsRefused(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer buffer = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        RemoteMemory own = RemoteMemory.Read(exposure.Remote.ToArray());
        AssertRefused(d => d.Provider = "other", "'other'");
        AssertRefused(d => d.Words = (TransportDescription.ByteOrder.BigEndian, 8), "big-endian");
        AssertRefused(d => d.Keys = (d.Keys!.Value.Addressing, d.Keys.Value.IsRaw, 99), "keys have 99 bytes");
        using RemoteRegion fits = pair.Left.Endpoint.Import(pair.Left.Peer, own);

        void AssertRefused(Action<TransportDescription> change, string says)
        {
            TransportDescription description = own.Transport!.Copy();
            change(description);
            Assert.Contains(says, Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.Import(pair.Left.Peer, own.Of(description))).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task TwoEndpointsOfOneContextReachEachOther(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        if (pair.Traits.RegistrationsBoundToEndpoint)
        {
            Assert.Throws<InvalidOperationException>(() => pair.Left.Endpoint.Context.OpenEndpoint());
            return;
        }
        await using IRmaEndpoint second = pair.Left.Endpoint.Context.OpenEndpoint();
        using RmaBuffer message = pair.Left.Pool.Rent(10);
        using RmaBuffer received = pair.Left.Pool.Rent(10);
        message.Span.Fill(6);
        RmaPeer peer = pair.Left.Endpoint.InsertPeer(second.Address.Span);
        Task<RmaReceiveResult> receiving = second.ReceiveAsync(received, cancellationToken: Token).AsTask();
        Task sending = pair.Left.Endpoint.SendAsync(message, peer, cancellationToken: Token).AsTask();
        while (!receiving.IsCompleted || !sending.IsCompleted)
        {
            second.Poll([]);
            await Task.Yield();
        }
        Assert.Equal(10, (await receiving).Length);
        await sending;
        Assert.False(received.Span.ContainsAnyExcept((byte)6));
    }

    private static async Task AssertRemovedAsync(Func<ValueTask> operation)
    {
        ArgumentException error = await Assert.ThrowsAsync<ArgumentException>(() => operation().AsTask());
        Assert.Contains("removed", error.Message, StringComparison.Ordinal);
    }
}
