using System.Diagnostics;
using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests packets that are dropped and delayed on their way.</summary>
public sealed class PacketLossTests
{
    public static TheoryData<string> Fabrics => [.. Service.Fabrics];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task TheRelayDropsAndDelaysWhatItIsToldTo()
    {
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 2);
        await using PeerProcess relay = await network[1].RelayAsync(seed: 1);
        Assert.True(await network[0].ReachesAsync(network[1].Address, TestTime.Seconds(20)));
        Assert.Equal("ok", await relay.AskAsync("delay 150"));
        var clock = Stopwatch.StartNew();
        Assert.True(await network[0].ReachesAsync(network[1].Address, TestTime.Seconds(20)));
        // The delay applies in both directions.
        Assert.True(clock.Elapsed >= TimeSpan.FromMilliseconds(300), $"It took {clock.Elapsed}.");
        Assert.Equal("ok", await relay.AskAsync("delay 0"));
        Assert.Equal("ok", await relay.AskAsync("drop 100"));
        Assert.False(await network[0].ReachesAsync(network[1].Address, TimeSpan.FromSeconds(1)));
        int dropped = (await CountsAsync(relay)).Dropped;
        Assert.True(dropped > 0);
        Assert.Equal("ok", await relay.AskAsync("drop 0"));
        Assert.True(await network[0].ReachesAsync(network[1].Address, TestTime.Seconds(20)));
        Assert.Equal(dropped, (await CountsAsync(relay)).Dropped);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AllBytesArriveThoughPacketsAreLateAndLost(string fabric)
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        await using PeerProcess relay = await network[2].RelayAsync(seed: 7);
        await using Services services = await Services.StartBusyAsync(network, fabric);
        await relay.AskAsync("delay 3");
        await relay.AskAsync("drop 3");
        // The time that a lost packet costs depends on TCP; what matters is that some were lost, and that everything
        // that arrived was right.
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        while ((await CountsAsync(relay)).Dropped < 20)
            await Task.Delay(50, limit.Token);
        foreach (Service service in services.All)
        {
            foreach (Service other in services.OthersOf(service))
                await service.ReachesAsync(other, rounds: 2);
        }
        await relay.AskAsync("drop 0");
        foreach (Service service in services.All)
        {
            foreach (Service other in services.OthersOf(service))
            {
                Assert.Equal("halted", await service.AskAsync($"halt {other.Number}"));
                Assert.Equal("whole", await other.AskAsync($"place {service.Number}"));
            }
        }
        (int passed, int dropped) = await CountsAsync(relay);
        TestContext.Current.SendDiagnosticMessage($"{fabric}: {passed} packets passed, {dropped} were dropped");
        await services.CloseAsync();
    }

    private static async Task<(int Passed, int Dropped)> CountsAsync(PeerProcess relay)
    {
        int[] counts = [.. (await relay.AskAsync("counts")).Split(' ').Select(static n => int.Parse(n, CultureInfo.InvariantCulture))];
        Token.ThrowIfCancellationRequested();
        return (counts[0], counts[1]);
    }
}
