using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests wall clocks that are set: neither waits nor leases are measured by them.</summary>
public sealed class WallClockTests
{
    /// <summary>The successive differences from the system's clock, in days.</summary>
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
            // The clock has jumped for the process.
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
            // Wait longer than PeerTimeout, with heartbeats alone.
            await Task.Delay(TestTime.Seconds(4), TestContext.Current.CancellationToken);
            Assert.Equal("same", await client.AskAsync("echo 100000"));
        }
        foreach (PeerProcess process in (PeerProcess[])[client, server])
        {
            Assert.Equal("ended", await process.AskAsync("end"));
            await ConnectionBadDayTests.Bed.BecomesAsync(process, "0 0 ");
        }
    }

    /// <summary>The keeper of the directory measures leases, and the publisher renews them.</summary>
    [Fact]
    public async Task EntriesStayHoweverTheClocksOfTheDirectoryAndOfThePublisherJump()
    {
        using var keepers = new WallClock();
        using var owners = new WallClock();
        await using DirectoryBed bed = await DirectoryBed.StartAsync(Service.Libfabric, keepers.Prefix, owners.Prefix);
        Assert.Equal("ok", await bed.Owner.AskAsync(bed.Publish));
        string found = await bed.Client.AskAsync("resolve blocks");
        Assert.StartsWith("found ", found, StringComparison.Ordinal);
        foreach (int days in (int[])[-400, 400])
        {
            keepers.Jump(days);
            owners.Jump(-days);
            // The entry must exist for longer than its lease, without interruption.
            using var end = new CancellationTokenSource(DirectoryBed.Lease * 1.2);
            while (!end.IsCancellationRequested)
            {
                Assert.Equal(found, await bed.Client.AskAsync("resolve blocks"));
                await Task.Delay(50, CancellationToken.None);
            }
        }
        // A keeper that is restarted with its clock set back gets the entry again.
        await bed.Keeper.KillAsync();
        keepers.Jump(-400);
        bed.Keeper = bed.StartKeeper(keepers.Prefix);
        Assert.Equal("ready", await bed.Keeper.AnswerAsync());
        await bed.BecomesAsync(found);
        // When its owner is gone, the entry ends with its lease, although the clock is set back again.
        await bed.Owner.KillAsync();
        keepers.Jump(-800);
        await bed.BecomesAsync("found");
    }
}
