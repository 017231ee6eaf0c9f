using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Wall clocks that are set: nothing that waits is measured by them.</summary>
public sealed class WallClockTests
{
    /// <summary>By how many days the clock is then apart from the system's.</summary>
    private static readonly int[] Jumps = [400, -400, 0];

    public static TheoryData<string> Fabrics => [.. Service.Fabrics];

    [Theory, MemberData(nameof(Fabrics))]
    public async Task OperationsEndByTheirTimeOutsHoweverTheClockJumps(string fabric)
    {
        using var clock = new WallClock();
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 2);
        await using var service = new Service(network[0], fabric, 0, clock.Prefix, []);
        await using var other = new Service(network[1], fabric, 1);
        await service.StartTrafficAsync(other);
        await service.ReachesAsync(other, rounds: 5);
        foreach (int days in Jumps)
        {
            clock.Jump(days);
            // It has jumped for the process.
            DateTime now = DateTime.Parse(await service.AskAsync("clock"), CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);
            Assert.Equal(days, (now - DateTime.UtcNow).TotalDays, tolerance: 0.1);
            await service.ReachesAsync(other, rounds: 5);
        }
        await other.Process.SuspendAsync();
        clock.Jump(400);
        await EndpointBadDayTests.AssertEndsAsync(service, other);
        clock.Jump(-400);
        other.Process.Resume();
        await service.StartTrafficAsync(other);
        await service.ReachesAsync(other, rounds: 5);
        Assert.Equal(Service.NothingLeft, await service.AskAsync("close"));
        Assert.Equal(Service.NothingLeft, await other.AskAsync("close"));
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ConnectionsStayHoweverTheClocksJump(string fabric)
    {
        using var clock = new WallClock();
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 2);
        await using var server = new PeerProcess([.. network[0].Inside, .. clock.Prefix], ["connections", fabric.Replace("NODE", network[0].Address, StringComparison.Ordinal)]);
        await using var client = new PeerProcess([.. network[1].Inside, .. clock.Prefix], ["connections", fabric.Replace("NODE", network[1].Address, StringComparison.Ordinal)]);
        Assert.DoesNotContain("error", await client.AskAsync($"connect {await server.AskAsync($"listen echo {network[0].Address}")} {network[0].Address}"), StringComparison.Ordinal);
        foreach (int days in Jumps)
        {
            clock.Jump(days);
            // Longer than PeerTimeout, with heartbeats alone.
            await Task.Delay(TestTime.Seconds(4), TestContext.Current.CancellationToken);
            Assert.Equal("same", await client.AskAsync("echo 100000"));
        }
        foreach (PeerProcess process in (PeerProcess[])[client, server])
        {
            Assert.Equal("ended", await process.AskAsync("end"));
            await ConnectionBadDayTests.Bed.BecomesAsync(process, "0 0 ");
        }
    }
}
