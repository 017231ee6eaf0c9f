using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Peers that are removed, and inserted twice: transports give their numbers again.</summary>
public sealed class PeerTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ARemovedPeerIsNotTheNextOne(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        await using var other = new EndpointPair(fabric);
        IRmaEndpoint from = pair.Left.Endpoint;
        RmaPeer old = pair.Left.Peer;
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion atOld = from.Import(old, exposure.Remote);
        from.RemovePeer(old);
        RmaPeer next = from.InsertPeer(other.Right.Endpoint.Address.Span);
        Assert.NotEqual(old, next);
        await AssertRemovedAsync(() => from.SendAsync(source, old, cancellationToken: Token));
        await AssertRemovedAsync(() => from.WriteAsync(source, atOld, cancellationToken: Token));
        Assert.Throws<ArgumentException>(() => from.RemovePeer(old));
        await SendAsync(pair.Left, next, other.Right);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerThatWasInsertedTwiceStaysUntilItIsRemovedTwice(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        RmaPeer again = pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span);
        await SendAsync(pair.Left, again, pair.Right);
        pair.Left.Endpoint.RemovePeer(again);
        await SendAsync(pair.Left, pair.Left.Peer, pair.Right);
        pair.Left.Endpoint.RemovePeer(pair.Left.Peer);
        using RmaBuffer message = pair.Left.Pool.Rent(64);
        await AssertRemovedAsync(() => pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token));
        RmaPeer back = pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span);
        await SendAsync(pair.Left, back, pair.Right);
    }

    // With libfabric 1.17 one of an unknown family keeps an address vector from taking any other.
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatIsNoAddressIsRefusedAndChangesNothing(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        await using var other = new EndpointPair(fabric);
        byte[] own = pair.Left.Endpoint.Address.ToArray();
        TestContext.Current.TestOutputHelper!.WriteLine($"{Convert.ToHexString(own)} {System.Text.Encoding.ASCII.GetString(own)}");
        byte[][] wrong = [[], [1], [1, 2, 3], new byte[own.Length], own[..^1], [.. own, 0], "127.0.0.1:5000"u8.ToArray(), [.. Enumerable.Repeat((byte)255, 28)], [.. Enumerable.Repeat((byte)255, 4096)]];
        foreach (byte[] address in wrong)
        {
            RmaProviderException error = Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(address));
            Assert.Contains($"address of {address.Length} bytes", error.Message, StringComparison.Ordinal);
            Assert.Contains("same provider", error.Message, StringComparison.Ordinal);
        }
        await SendAsync(pair.Left, pair.Left.Endpoint.InsertPeer(other.Right.Endpoint.Address.Span), other.Right);
    }

    private static async Task SendAsync(EndpointPair.Side from, RmaPeer peer, EndpointPair.Side to)
    {
        using RmaBuffer message = from.Pool.Rent(64);
        using RmaBuffer received = to.Pool.Rent(64);
        message.Span.Fill(42);
        received.Span.Clear();
        Task<RmaReceiveResult> receiving = to.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await from.Endpoint.SendAsync(message, peer, cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
        Assert.False(received.Span.ContainsAnyExcept((byte)42));
    }

    private static async Task AssertRemovedAsync(Func<ValueTask> operation)
    {
        ArgumentException error = await Assert.ThrowsAsync<ArgumentException>(() => operation().AsTask());
        Assert.Contains("removed", error.Message, StringComparison.Ordinal);
    }
}
