using System.Net;
using System.Net.NetworkInformation;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>What peers are given where an endpoint is bound to a wildcard or a loopback address, and what is taken of theirs.</summary>
public sealed class AdvertisedAddressTests
{
    private static readonly PeerPlace Here = new(new Guid("00112233-4455-6677-8899-aabbccddeeff"), 7, 5);
    private static readonly PeerPlace OtherMachine = Here with { Boot = Guid.Empty };
    private static readonly PeerPlace OtherContainer = Here with { Network = 8 };

    public static TheoryData<string> IpFabrics => [.. Fabric.Named is null ? [Fabric.Tcp, Fabric.Sockets, Fabric.PlainTcp] : Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(IpFabrics))]
    public async Task AWildcardIsNotGivenToPeers(string fabric)
    {
        await using var pair = new EndpointPair(fabric, o => o.Node = "0.0.0.0");
        IPAddress given = IpOf(pair.Right.Endpoint);
        Assert.Contains(given, NetworkInterface.GetAllNetworkInterfaces().SelectMany(i => i.GetIPProperties().UnicastAddresses).Select(a => a.Address));
        using RmaBuffer message = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        message.Span.Fill(42);
        Task<long> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(64, await receiving);
    }

    [Theory]
    [MemberData(nameof(IpFabrics))]
    public void AdvertisedNodeIsWhatPeersAreGiven(string fabric)
    {
        using IRmaContext context = Fabric.Open(fabric, o => o.AdvertisedNode = "192.0.2.9");
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        Assert.Equal(IPAddress.Parse("192.0.2.9"), IpOf(endpoint));
    }

    [Theory]
    [InlineData("0.0.0.0", "names no machine")]
    [InlineData("2001:db8::1", "no IPv4 address")]
    [InlineData("no such host", "can't be resolved")]
    public void AnAdvertisedNodeThatCantBeOneIsRefused(string node, string says)
    {
        using IRmaContext context = Fabric.Open(Fabric.Tcp, o => o.AdvertisedNode = node);
        string message = Assert.Throws<RmaProviderException>(() => context.OpenEndpoint()).Message;
        Assert.Contains(says, message, StringComparison.Ordinal);
        Assert.Contains($"AdvertisedNode is '{node}'", message, StringComparison.Ordinal);
    }

    // A program in C gives 0.0.0.0 where it was bound to it.
    [Theory]
    [MemberData(nameof(IpFabrics))]
    public async Task AnEndpointOnTheLoopbackSaysThatAPeerElsewhereCantBeReached(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        byte[] own = EndpointAddress.Parse(pair.Left.Endpoint.Address.Span, out _, out _).ToArray();
        AssertRefused("192.0.2.77", "bound to the loopback address 127.0.0.1, from which 192.0.2.77");
        AssertRefused("0.0.0.0", "names no machine");

        void AssertRefused(string host, string says) => Assert.Contains(
            says, Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(SocketAddressBytes.WithHost(own, IPAddress.Parse(host)))).Message, StringComparison.Ordinal);
    }

    public static TheoryData<string, string, bool, bool, string?> Reaches => new()
    {
        // own, peer's, on another machine, in another container, what is said
        { "127.0.0.1", "127.0.0.1", false, false, null },
        { "127.0.0.1", "127.0.0.1", true, false, "loopback address of another machine" },
        { "127.0.0.1", "127.0.0.2", false, true, "loopback address of another machine" },
        { "10.0.0.1", "127.0.0.1", false, false, null },
        { "10.0.0.1", "127.0.0.1", true, false, "loopback address of another machine" },
        { "10.0.0.1", "10.0.0.2", true, true, null },
        { "10.0.0.1", "10.0.0.1", false, false, null },
        { "10.0.0.1", "10.0.0.1", false, true, "this endpoint's own address" },
        { "127.0.0.1", "10.0.0.2", true, false, "bound to the loopback address" },
        { "10.0.0.1", "0.0.0.0", false, false, "names no machine" },
        { "2001:db8::1", "::", false, false, "names no machine" },
        { "2001:db8::1", "2001:db8::2", true, false, null },
        { "2001:db8::1", "::1", true, false, "loopback address of another machine" },
    };

    [Theory]
    [MemberData(nameof(Reaches))]
    public void WhatIsReachedFromWhere(string own, string peer, bool isOnOtherMachine, bool isInOtherContainer, string? says)
    {
        (byte[] ownBytes, fi_addr_format format) = Bytes(own);
        var reach = new PeerReach(format, ownBytes, ownBytes, Here);
        string? reason = reach.FindReasonAgainst(Bytes(peer).Bytes, isOnOtherMachine ? OtherMachine : isInOtherContainer ? OtherContainer : Here);
        if (says is null)
            Assert.Null(reason);
        else
            Assert.Contains(says, reason, StringComparison.Ordinal);
    }

    [Fact]
    public void ThisProcessKnowsWhereItIs()
    {
        PeerPlace place = PeerPlace.FindOwn()!.Value;
        Assert.NotEqual(Guid.Empty, place.Boot);
        Assert.NotEqual(0u, place.Network);
        Assert.NotEqual(0u, place.SharedMemory);
        Assert.Equal(place, PeerPlace.Read(place.ToArray()));
        Assert.Equal(File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim().Replace("-", "", StringComparison.Ordinal), Convert.ToHexStringLower(place.ToArray().AsSpan(0, 16)));
    }

    private static IPAddress IpOf(IRmaEndpoint endpoint)
    {
        ReadOnlySpan<byte> own = EndpointAddress.Parse(endpoint.Address.Span, out _, out string? error);
        Assert.Null(error);
        Assert.True(SocketAddressBytes.TryRead(fi_addr_format.FI_SOCKADDR, own, out IPEndPoint? found));
        return found.Address;
    }

    private static (byte[] Bytes, fi_addr_format Format) Bytes(string host)
    {
        var address = IPAddress.Parse(host);
        bool isFour = address.GetAddressBytes().Length == 4;
        return (SocketAddressBytes.WithHost([isFour ? (byte)2 : (byte)10, .. new byte[isFour ? 15 : 27]], address), isFour ? fi_addr_format.FI_SOCKADDR_IN : fi_addr_format.FI_SOCKADDR_IN6);
    }
}
