using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class ProviderTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    [Fact]
    public void AMissingLibraryIsAClearError()
    {
        var provider = new LibfabricProvider(new LibfabricOptions { LibraryPath = "/nowhere/libfabric.so.1" });
        RmaProviderException error = Assert.Throws<RmaProviderException>(provider.Open);
        Assert.Contains("/nowhere/libfabric.so.1", error.Message, StringComparison.Ordinal);
        Assert.Contains("apt-get install libfabric1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnOpenedContextKeepsItsOptionsWhenTheCallersChange()
    {
        LibfabricOptions options = Fabric.Options(Fabric.Any);
        using IRmaContext context = new LibfabricProvider(options).Open();
        options.Endpoint.MaxOutstanding = -1;
        options.Node = "no.such.host.invalid";
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        Assert.NotEqual(0, endpoint.Address.Length);
    }

    [Fact]
    public void AnUnknownProviderIsAClearErrorThatListsTheOthers()
    {
        var provider = new LibfabricProvider(new LibfabricOptions { Provider = "warp;ofi_rxm" });
        RmaProviderException error = Assert.Throws<RmaProviderException>(provider.Open);
        Assert.Contains("Provider 'warp;ofi_rxm'", error.Message, StringComparison.Ordinal);
        Assert.Contains("FI_ENODATA", error.Message, StringComparison.Ordinal);
        Assert.Contains("tcp;ofi_rxm", error.Message, StringComparison.Ordinal);
        Assert.Contains("shm", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AnEndpointIsRefusedBeforeTheProcessRunsOutOfFileDescriptors(string fabric)
    {
        await using var peer = new PeerProcess(["prlimit", "--nofile=150:150"], ["open", fabric, "60"]);
        string answer = await peer.ReadToEndAsync();
        Assert.Matches("^refused [1-9][0-9]*: FI_EMFILE: An endpoint of provider '[^']+' can't be opened: RLIMIT_NOFILE is 150 and [0-9]+ file descriptors are in use, and 64 must be free", answer);
        Assert.Contains("LimitNOFILE=65536", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Fabric.Tcp)]
    [InlineData(Fabric.Sockets)]
    public async Task WhereNoLocalPortIsLeftTheirRangeIsNamed(string fabric)
    {
        string[] network = Environment.IsPrivilegedProcess ? ["unshare", "-n"] : ["unshare", "-Urn"];
        string[] fewPorts = ["sh", "-c", "ip link set lo up && echo 50000 50003 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"", "sh"];
        await using var peer = new PeerProcess([.. network, .. fewPorts], ["open", fabric, "10"]);
        string answer = await peer.ReadToEndAsync();
        Assert.StartsWith("refused 4: FI_EADDRINUSE: ", answer, StringComparison.Ordinal);
        Assert.Contains("The system had no local port left to choose: net.ipv4.ip_local_port_range is 50000 to 50003.", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sockets")]
    [InlineData("^tcp")]
    public async Task AFilterInTheEnvironmentIsNamedWhereItLeavesNothing(string filter)
    {
        await using var peer = new PeerProcess(["env", $"FI_PROVIDER={filter}"], ["open", Fabric.Tcp, "1"]);
        string answer = await peer.ReadToEndAsync();
        Assert.Contains("refused 0: FI_ENODATA: ", answer, StringComparison.Ordinal);
        Assert.Contains($"The environment sets FI_PROVIDER={filter}, which leaves libfabric only the providers that it allows; unset it", answer, StringComparison.Ordinal);
    }

    // Some providers return another domain, some none; it also depends on the version.
    [Theory]
    [MemberData(nameof(Fabrics))]
    public void AnUnknownDomainIsNamedAndWhatThereIsBesideIt(string fabric)
    {
        RmaProviderException domain = Assert.Throws<RmaProviderException>(() => Fabric.Open(fabric, o => o.Domain = "nosuchcard0"));
        Assert.Contains("Domain is 'nosuchcard0'", domain.Message, StringComparison.Ordinal);
        using InfoHandle found = LibfabricDiscovery.Find(LibfabricLibrary.Default!, Fabric.Options(fabric));
        Assert.Contains(found.DomainName, domain.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnAddressThatIsNotOursIsNamed()
    {
        RmaProviderException node = Assert.Throws<RmaProviderException>(() =>
        {
            // An address of another machine is detected when it is bound.
            using IRmaContext context = Fabric.Open(Fabric.Tcp, o => o.Node = "203.0.113.9");
            context.OpenEndpoint().Dispose();
        });
        Assert.Contains("'203.0.113.9'. It must be an address of this machine", node.Message, StringComparison.Ordinal);
        RmaProviderException name = Assert.Throws<RmaProviderException>(() => Fabric.Open(Fabric.Tcp, o => o.Node = "no.such.host.invalid"));
        Assert.Contains("Node 'no.such.host.invalid'", name.Message, StringComparison.Ordinal);
        Assert.EndsWith("Node must be an address of this machine or a host name that resolves to one.", name.Message, StringComparison.Ordinal);
        RmaProviderException service = Assert.Throws<RmaProviderException>(() => Fabric.Open(Fabric.Tcp, o => (o.Node, o.Service) = ("127.0.0.1", "nosuchservice")));
        Assert.EndsWith("and Service the number or name of a port.", service.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void InvalidOptionsAreAllNamedAtOnce()
    {
        var options = new LibfabricOptions { Service = "7471" };
        options.Endpoint.MaxOutstanding = 0;
        options.Endpoint.OperationTimeout = TimeSpan.Zero;
        options.Endpoint.SpinTime = TimeSpan.FromSeconds(2);
        options.Settings["PATH"] = "x";
        OptionsValidationException error = Assert.Throws<OptionsValidationException>(() => new LibfabricProvider(options).Open());
        Assert.Equal(5, error.Failures.Count());
        Assert.Contains("Endpoint:MaxOutstanding is 0", error.Message, StringComparison.Ordinal);
    }

    // libfabric itself takes the number modulo 65536.
    [Theory]
    [InlineData("65536")]
    [InlineData("99999999999999")]
    [InlineData("-1")]
    public void APortThatIsNoneIsRefused(string service)
    {
        var options = new LibfabricOptions { Node = "127.0.0.1", Service = service };
        OptionsValidationException error = Assert.Throws<OptionsValidationException>(() => new LibfabricProvider(options).Open());
        Assert.Equal($"Service is '{service}'; it must be a port between 0 and 65,535, or the name of a service.", error.Message);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public void TheTraitsSayWhatTheFabricReturned(string fabric)
    {
        using IRmaContext context = Fabric.Open(fabric);
        RmaProviderTraits traits = context.Traits;
        bool isVerbs = Fabric.IsVerbs(fabric);
        Assert.Equal(isVerbs || fabric == Fabric.SharedMemoryByAddress ? RmaAddressing.VirtualAddress : RmaAddressing.Offset, traits.Addressing);
        Assert.False(traits.RawKeys);
        Assert.False(traits.RegistrationsBoundToEndpoint);
        Assert.Equal(isVerbs ? 4 : 8, traits.KeySize);
        Assert.Equal(isVerbs, traits.ProviderSelectsKey);
        Assert.Equal(isVerbs, traits.LocksPages);
        Assert.Equal(isVerbs, traits.TransportPinnedBytes > 0);
        Assert.True(traits.RemoteAccess);
        Assert.True(traits.DeliveryComplete);
        if (fabric == Fabric.Tcp || isVerbs)
            Assert.True(traits.SendAfterWriteOrdered);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public void EachRegistrationHasItsOwnKeyWhichIsUnpredictableWhereThePoolPicksIt(string fabric)
    {
        using IRmaContext context = Fabric.Open(fabric);
        using var pool = new RmaMemoryPool<LibfabricProvider>(
            context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead, Isolation = RmaIsolation.PerExposure });
        using RmaBuffer buffer = pool.Rent(4096);
        HashSet<ulong> keys = [];
        for (int i = 0; i < 100; i++)
        {
            using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteRead);
            Assert.True(keys.Add(exposure.Remote.Key));
        }
        // Keys that a device picks, or that have 32 bits, can be guessed.
        if (context.Traits.ProviderSelectsKey)
            return;
        // The chance that 100 random 64-bit numbers are all below 2^48, or all even, is 1 in 2^100 or less.
        Assert.Contains(keys, k => k > 1UL << 48);
        Assert.Contains(keys, k => k % 2 == 1);
    }

    [Fact]
    public void ThePoolsMemoryIsRegisteredOncePerSlab()
    {
        using IRmaContext context = Fabric.Open(Fabric.Tcp);
        using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions());
        for (int i = 0; i < 1000; i++)
            pool.Rent(64 << 10).Dispose();
        Assert.Equal(1, pool.GetStatistics().Registrations);
        Assert.Equal(999, pool.GetStatistics().Hits);
    }
}
