using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests peers of shm that are removed: libfabric 1.17 applies what it knew of one to the next one.</summary>
public sealed class RemovedPeerTests
{
    public static TheoryData<string> Fabrics => [Fabric.SharedMemoryByAddress, Fabric.SharedMemoryByOffset];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>The removed peer continues to send, and the next one is reached.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ARemovedPeerMaySendOn(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        await using var other = new EndpointPair(fabric);
        IRmaEndpoint from = pair.Left.Endpoint;
        RmaPeer peer = pair.Left.Peer;
        for (int i = 0; i < 5; i++)
        {
            EndpointPair.Side to = i % 2 == 0 ? pair.Right : other.Right;
            await PassAsync(pair.Left, peer, to);
            await PassAsync(pair.Right, pair.Right.Peer, pair.Left);
            from.RemovePeer(peer);
            await PassAsync(pair.Right, pair.Right.Peer, pair.Left);
            peer = from.InsertPeer((i % 2 == 0 ? other.Right : pair.Right).Endpoint.Address.Span);
            await PassAsync(pair.Right, pair.Right.Peer, pair.Left);
        }
    }

    /// <summary>A peer that has ended is removed, and another one takes its place.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ThePlaceOfAnEndedPeerIsNotTheNextOnes(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        for (int i = 0; i < 3; i++)
        {
            await using PeerProcess other = new("fabric", fabric, "RemoteWrite");
            RmaPeer peer = pair.Left.Endpoint.InsertPeer(Convert.FromBase64String(await other.AskAsync("address")));
            await other.AskAsync("rent 4096 0");
            using RemoteRegion remote = pair.Left.Endpoint.Import(peer, RemoteMemory.Read(Convert.FromBase64String(await other.AskAsync("expose 0 0 4096 RemoteWrite"))));
            using RmaBuffer source = pair.Left.Pool.Rent(4096);
            source.Span.Fill((byte)(i + 1));
            await pair.Left.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
            Assert.Equal(Convert.ToHexString(source.Span), await other.AskAsync("peek 0 0 4096"));
            await other.KillAsync();
            pair.Left.Endpoint.RemovePeer(peer);
        }
    }

    private static async Task PassAsync(EndpointPair.Side from, RmaPeer peer, EndpointPair.Side to)
    {
        using RmaBuffer message = from.Pool.Rent(64);
        using RmaBuffer received = to.Pool.Rent(64);
        Task<RmaReceiveResult> receiving = to.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await from.Endpoint.SendAsync(message, peer, cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
    }
}
