using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests addresses and memory of transports that this endpoint can't work with: they are refused before a byte moves.
/// </summary>
public sealed class PeerTransportTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    // For example, tcp;ofi_rxm of 1.17 and plain tcp of 2.6 have the same kind of address, but different protocols.
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerOfAnotherProtocolIsRefusedWithBothNames(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        byte[] other = WithDescription(pair.Right.Endpoint, d => (d.Protocol, d.Provider, d.Library) = ((4711, 3), "other;layer", new Version(2, 6)));
        RmaProviderException error = Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(other));
        Assert.Contains("'other;layer' (libfabric 2.6, protocol 4711 version 3)", error.Message, StringComparison.Ordinal);
        Assert.Contains($"this endpoint of provider '{pair.Left.Endpoint.Context.Traits.ProviderName}'", error.Message, StringComparison.Ordinal);
        // Peers that were inserted before are still reached.
        await SendAsync(pair.Left, pair.Left.Peer, pair.Right);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task MemoryOfAnotherProtocolIsRefused(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        using RmaBuffer buffer = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        RemoteMemory own = RemoteMemory.Read(exposure.Remote.ToArray());
        AssertRefused(d => d.Protocol = (4711, 3), "protocol 4711 version 3");
        using RemoteRegion fits = pair.Left.Endpoint.Import(pair.Left.Peer, own);

        void AssertRefused(Action<TransportDescription> change, string says)
        {
            TransportDescription description = own.Transport!.Copy();
            change(description);
            Assert.Contains(says, Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.Import(pair.Left.Peer, own.Of(description))).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task SharedMemoryOfAnotherVersionOrPlaceIsRefused()
    {
        await using var pair = new EndpointPair(Fabric.SharedMemoryByAddress);
        AssertRefused(d => d.Library = new Version(2, 6), "lays out shared memory");
        AssertRefused(d => d.Place = d.Place!.Value with { Boot = Guid.NewGuid() }, "another machine");
        AssertRefused(d => d.Place = d.Place!.Value with { SharedMemory = ulong.MaxValue }, "another /dev/shm");

        void AssertRefused(Action<TransportDescription> change, string says) => Assert.Contains(
            says, Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(WithDescription(pair.Right.Endpoint, change))).Message, StringComparison.Ordinal);
    }

    // An initiator that uses addresses would take the owner's offset for one.
    [Fact]
    public async Task SharedMemoryByOffsetAndByAddressDontMix()
    {
        await using var byAddress = new EndpointPair(Fabric.SharedMemoryByAddress);
        await using var byOffset = new EndpointPair(Fabric.SharedMemoryByOffset);
        Assert.Contains("VirtualAddressing", Assert.Throws<RmaProviderException>(() => byAddress.Left.Endpoint.InsertPeer(byOffset.Left.Endpoint.Address.Span)).Message, StringComparison.Ordinal);
    }

    private static byte[] WithDescription(IRmaEndpoint endpoint, Action<TransportDescription> change)
    {
        byte[] own = EndpointAddress.Parse(endpoint.Address.Span, out TransportDescription? description, out _).ToArray();
        TransportDescription changed = description!.Copy();
        change(changed);
        return EndpointAddress.Compose(own, changed);
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
}
