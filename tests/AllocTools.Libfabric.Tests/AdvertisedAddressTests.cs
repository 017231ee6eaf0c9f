using System.Net;
using System.Net.NetworkInformation;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests which address peers are given if an endpoint is bound to a wildcard or a loopback address, and which of theirs
/// are accepted.
/// </summary>
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
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
    }

    // Each side is a separate machine to the other.
    [Theory]
    [InlineData(Fabric.Tcp)]
    [InlineData(Fabric.Sockets)]
    [InlineData(Fabric.PlainTcp)]
    public async Task TwoMachinesThatAreBoundToAWildcardAndOnePortReachEachOther(string fabric)
    {
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 2);
        string[] peer = ["fabric", $"{Fabric.Options(fabric).Provider}@0.0.0.0", "Local", "service=23458"];
        await using var left = new PeerProcess(network[0].Inside, peer);
        await using var right = new PeerProcess(network[1].Inside, peer);

        string rightAddress = await right.AskAsync("address");
        string leftAddress = await left.AskAsync("address");
        Assert.Equal(IPAddress.Parse(network[0].Address), IpOf(Convert.FromBase64String(leftAddress)));
        Assert.Equal(IPAddress.Parse(network[1].Address), IpOf(Convert.FromBase64String(rightAddress)));
        Assert.Equal("ok", await left.AskAsync($"peer {rightAddress}"));
        Assert.Equal("ok", await right.AskAsync($"peer {leftAddress}"));
        await AssertArrivesAsync(left, "7", right);
        await AssertArrivesAsync(right, "9", left);

        // Each sends a different byte, which identifies the sender of the message.
        static async Task AssertArrivesAsync(PeerProcess sender, string fill, PeerProcess receiver)
        {
            string message = await sender.AskAsync($"rent 64 {fill}");
            string received = await receiver.AskAsync("rent 64 0");
            await receiver.TellAsync($"receive {received}");
            Assert.Equal("ok", await sender.AskAsync($"send {message} 64"));
            Assert.Equal("64", await receiver.AnswerAsync());
            Assert.Equal($"0{fill}", await receiver.AskAsync($"peek {received} 0 1"));
        }
    }

    // No endpoint is opened: the failure is known as soon as the context opens.
    [Theory]
    [InlineData(Fabric.Tcp)]
    [InlineData(Fabric.Sockets)]
    public async Task AWildcardOnAMachineWhereNoAddressIsClearlyTheOneIsRefusedAtTheStart(string provider)
    {
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 1, links: 2);
        await using var peer = new PeerProcess(network[0].Inside, ["open", $"{provider}@0.0.0.0", "0"]);
        string answer = await peer.ReadToEndAsync();
        Assert.Matches(@"it is not clear which of its addresses they reach: 198\.18\.[01]\.1, 198\.18\.[01]\.1\. Set AdvertisedNode", answer);
    }

    [Theory]
    [InlineData(Fabric.Tcp)]
    [InlineData(Fabric.PlainTcp)]
    public void WithADomainAWildcardIsTheAddressOfThatInterface(string fabric)
    {
        using IRmaContext context = Fabric.Open(fabric, o => (o.Node, o.Domain) = ("0.0.0.0", "lo"));
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        Assert.Equal(IPAddress.Loopback, IpOf(endpoint));
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
    [InlineData("0.0.0.0", "does not identify a machine")]
    [InlineData("2001:db8::1", "no IPv4 address")]
    [InlineData("no such host", "can't be resolved")]
    public void AnAdvertisedNodeThatCantBeOneIsRefused(string node, string says)
    {
        string message = Assert.Throws<RmaProviderException>(() => Fabric.Open(Fabric.Tcp, o => o.AdvertisedNode = node)).Message;
        Assert.Contains(says, message, StringComparison.Ordinal);
        Assert.Contains($"AdvertisedNode is '{node}'", message, StringComparison.Ordinal);
    }

    // A C program that is bound to 0.0.0.0 hands out that address.
    [Theory]
    [MemberData(nameof(IpFabrics))]
    public async Task AnEndpointOnTheLoopbackSaysThatAPeerElsewhereCantBeReached(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        byte[] own = EndpointAddress.Parse(pair.Left.Endpoint.Address.Span, out _, out _).ToArray();
        AssertRefused("192.0.2.77", "bound to the loopback address 127.0.0.1, from which 192.0.2.77");
        AssertRefused("0.0.0.0", "does not identify a machine");

        void AssertRefused(string host, string says)
        {
            string message = Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer(SocketAddressBytes.WithHost(own, IPAddress.Parse(host)))).Message;
            Assert.Contains(says, message, StringComparison.Ordinal);
            Assert.DoesNotContain("same provider", message, StringComparison.Ordinal);
        }
    }

    public static TheoryData<string, string, bool, bool, string?> Reaches => new()
    {
        // own address, peer's address, on another machine, in another container, expected message
        { "127.0.0.1", "127.0.0.1", false, false, null },
        { "127.0.0.1", "127.0.0.1", true, false, "loopback address of another machine" },
        { "127.0.0.1", "127.0.0.2", false, true, "loopback address of another machine" },
        { "10.0.0.1", "127.0.0.1", false, false, null },
        { "10.0.0.1", "127.0.0.1", true, false, "loopback address of another machine" },
        { "10.0.0.1", "10.0.0.2", true, true, null },
        { "10.0.0.1", "10.0.0.1", false, false, null },
        { "10.0.0.1", "10.0.0.1", false, true, "this endpoint's own address" },
        { "127.0.0.1", "10.0.0.2", true, false, "bound to the loopback address" },
        { "10.0.0.1", "0.0.0.0", false, false, "does not identify a machine" },
        { "2001:db8::1", "::", false, false, "does not identify a machine" },
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

    private static IPAddress IpOf(IRmaEndpoint endpoint) => IpOf(endpoint.Address.Span);

    private static IPAddress IpOf(ReadOnlySpan<byte> address)
    {
        ReadOnlySpan<byte> own = EndpointAddress.Parse(address, out _, out string? error);
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
