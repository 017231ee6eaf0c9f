using System.Globalization;
using AllocTools;
using AllocTools.Endpoints;
using AllocTools.MultiRail;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.TestPeer;

// The other process of the tests. The first argument selects what it is; it ends with its standard input.
return args switch
{
    ["fabric", string fabric, string access, .. string[] rest] => new FabricPeer(c => OpenFabric(fabric, rest, c), Enum.Parse<RmaAccess>(access), rest).Run(),
    ["ucx", string fabric, string access, .. string[] rest] => new FabricPeer(c => UcxFabric.Open(fabric, o => c(o.Endpoint)), Enum.Parse<RmaAccess>(access), rest).Run(),
    ["inside"] => InsidePeers.Run(),
    ["ucx-open", .. string[] paths] => UcxOpenProbe.Run(paths),
    ["endpoints", string fabric, string count, .. string[] rest] => EndpointsProbe.Run(fabric, int.Parse(count, System.Globalization.CultureInfo.InvariantCulture), rest.Contains("kill")),
    ["pinning", string fabric] => RunPinning(fabric),
    ["memlock", string locking] => MemoryLockProbe.Run(Enum.Parse<AllocTools.HostMemory.PageLocking>(locking)),
    ["connections", string fabric, .. string[] rest] => await ConnectionPeer.RunAsync(fabric, rest),
    ["host", string fabric, string places, string timeout, .. string[] rest] => await new HostPeer(c => OpenAny(fabric, rest, c), int.Parse(places, CultureInfo.InvariantCulture), double.Parse(timeout, CultureInfo.InvariantCulture)).RunAsync(),
    ["relay", string card, string otherCard, string seed] => new PacketRelay(int.Parse(seed, CultureInfo.InvariantCulture)).Run(card, otherCard),
    ["directory-keeper", string address, string lease] => await DirectoryPeer.KeepAsync(address, Seconds(lease)),
    ["directory", string fabric, string keeper, string lease] => await DirectoryPeer.RunAsync(fabric, keeper, Seconds(lease)),
    ["rails", string fabrics, string stripeTimeout] => await new RailPeer(fabrics.Split(','), new RmaMultiRailOptions { StripeTimeout = TimeSpan.FromMilliseconds(double.Parse(stripeTimeout, CultureInfo.InvariantCulture)), TransferTimeout = TestTime.Seconds(60) }).RunAsync(),
    ["late-worker"] => LateWorker.RunHost(),
    ["ring", string fabric, .. string[] place] => await RunInRingAsync(c => OpenFabric(fabric, [], c), place),
    ["ucx-ring", string fabric, .. string[] place] => await RunInRingAsync(c => UcxFabric.Open(fabric, o => c(o.Endpoint)), place),
    ["socket", string what] => await SocketPeer.RunAsync(what),
    ["open", string fabric, string count] => OpenProbe.Run(fabric, int.Parse(count, CultureInfo.InvariantCulture)),
    ["mpi", string port, .. string[] rest] => MpiRank.Run(int.Parse(port, CultureInfo.InvariantCulture), rest),
    ["mpi-connections", string port] => await ConnectionPeer.RunRankAsync(int.Parse(port, CultureInfo.InvariantCulture)),
    ["mpi-open", string implementation, string seconds, .. string[] paths] => MpiRank.Open(implementation, seconds, paths),
    ["mpi-there"] => MpiRank.AskOnly(),
    ["mpi-signal", string mark] => MpiRank.HearSignal(mark),
    ["mpi-own", string level, string library, .. string[] rest] => MpiOwner.Run(int.Parse(level, CultureInfo.InvariantCulture), library, rest.Contains("close-later")),
    ["mpi-companion"] => MpiRank.Accompany(),
    ["mappings"] => MappingProbe.Run(),
    _ => 2,
};

static TimeSpan Seconds(string text) => TimeSpan.FromSeconds(double.Parse(text, CultureInfo.InvariantCulture));

static IRmaContext OpenAny(string fabric, string[] words, Action<RmaEndpointOptions> configure) => fabric.Split(':') is ["ucx", var ucx]
    ? UcxFabric.Open(ucx, o => configure(o.Endpoint))
    : OpenFabric(fabric, words, configure);

static IRmaContext OpenFabric(string fabric, string[] words, Action<RmaEndpointOptions> configure) => Fabric.Open(fabric, o =>
{
    configure(o.Endpoint);
    if (words.Contains("transmit"))
        o.Endpoint.CompletionLevel = AllocTools.Libfabric.LibfabricCompletionLevel.Transmit;
    if (words.SingleOrDefault(static w => w.StartsWith("service=", StringComparison.Ordinal)) is { } service)
        o.Service = service["service=".Length..];
});

static async Task<int> RunInRingAsync(Func<Action<RmaEndpointOptions>, IRmaContext> open, string[] place)
{
    int[] numbers = [.. place.Select(static n => int.Parse(n, CultureInfo.InvariantCulture))];
    return await new RingPeer(open, rank: numbers[0], ranks: numbers[1], length: numbers[2]).RunAsync();
}

static int RunPinning(string fabric)
{
    using PinningPeer peer = new(fabric);
    return peer.Run();
}
