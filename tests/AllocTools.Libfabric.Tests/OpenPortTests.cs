using System.Net;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests the warning about endpoints whose port strangers may reach if the provider trusts a peer's header.</summary>
public sealed class OpenPortTests
{
    public static TheoryData<string, string, string, string?> Rule => new()
    {
        { "tcp;ofi_rxm", "1.14", "10.0.0.1", "install libfabric 2.7" },
        { "tcp;ofi_rxm", "1.17", "10.0.0.1", "install libfabric 2.7" },
        { "tcp;ofi_rxm", "2.6", "2001:db8::1", "install libfabric 2.7" },
        { "tcp;ofi_rxm", "1.17", "0.0.0.0", "install libfabric 2.7" },
        { "tcp;ofi_rxm", "1.17", "::", "install libfabric 2.7" },
        { "ofi_hook_perf;tcp;ofi_rxm", "1.17", "10.0.0.1", "install libfabric 2.7" },
        { "net", "1.17", "10.0.0.1", "install libfabric 2.7" },
        { "tcp", "2.0", "10.0.0.1", "install libfabric 2.7" },
        { "tcp", "2.7", "10.0.0.1", null },
        { "tcp;ofi_rxm", "2.10", "10.0.0.1", null },
        { "tcp;ofi_rxm", "1.17", "127.0.0.1", null },
        { "tcp;ofi_rxm", "1.17", "127.1.2.3", null },
        { "tcp;ofi_rxm", "1.17", "::1", null },
        { "sockets", "1.17", "10.0.0.1", "use another provider" },
        { "sockets", "2.99", "10.0.0.1", "use another provider" },
        { "sockets", "1.17", "127.0.0.1", null },
        { "verbs;ofi_rxm", "1.17", "10.0.0.1", null },
    };

    [Theory]
    [MemberData(nameof(Rule))]
    public void ItDependsOnTheProviderTheVersionAndTheAddress(string provider, string version, string address, string? says)
    {
        var ip = IPAddress.Parse(address);
        bool isFour = ip.GetAddressBytes().Length == 4;
        byte[] bound = isFour ? [2, 0, 0x1F, 0x90, .. ip.GetAddressBytes(), .. new byte[8]] : [10, 0, 0x1F, 0x90, 0, 0, 0, 0, .. ip.GetAddressBytes(), .. new byte[4]];
        string? advice = UncheckedSegments.FindAdvice(provider, Version.Parse(version), isFour ? fi_addr_format.FI_SOCKADDR_IN : fi_addr_format.FI_SOCKADDR_IN6, bound);
        if (says is null)
            Assert.Null(advice);
        else
            Assert.StartsWith(says, advice, StringComparison.Ordinal);
    }

    [Fact]
    public void AnAddressThatIsNoSocketAddressHasNoPort() =>
        Assert.Null(UncheckedSegments.FindAdvice("tcp", new Version(1, 17), fi_addr_format.FI_ADDR_STR, "fi_shm://1\0"u8));

    public static TheoryData<string> IpFabrics => [Fabric.Tcp, Fabric.Sockets, Fabric.PlainTcp];

    // The test uses a separate network, which nobody else can reach.
    [Theory]
    [MemberData(nameof(IpFabrics))]
    public async Task AnEndpointBeyondTheLoopbackAddressWarnsOnceAndOneOnItDoesNot(string fabric)
    {
        string provider = Fabric.Options(fabric).Provider!;
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 1);
        Assert.Equal(2, Warnings(await OpenAsync($"{provider}@{network[0].Address}"), provider));
        Assert.Equal(2, Warnings(await OpenAsync($"{provider}@0.0.0.0"), provider));
        Assert.Equal(0, Warnings(await OpenAsync($"{provider}@127.0.0.1"), provider));

        async Task<string> OpenAsync(string where)
        {
            await using var peer = new PeerProcess(network[0].Inside, ["open", where, "2"]);
            string answer = await peer.ReadToEndAsync();
            Assert.Contains("opened 2", answer, StringComparison.Ordinal);
            return answer;
        }

        static int Warnings(string answer, string provider) => answer.Split('\n').Count(l => l.Contains($"An endpoint of provider '{provider}' (libfabric ", StringComparison.Ordinal) && l.Contains("listens beyond the loopback address", StringComparison.Ordinal));
    }
}
