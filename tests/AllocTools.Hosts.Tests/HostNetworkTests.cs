using System.Diagnostics;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests the hosts themselves, on which the other tests rely.</summary>
public sealed class HostNetworkTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task HostsReachEachOtherUntilTheyAreCutAndAgainAfterwards()
    {
        await using HostNetwork network = await HostNetwork.StartAsync(links: 2);
        await Task.WhenAll(IsReachedAsync(0, 1), IsReachedAsync(1, 2), IsReachedAsync(2, 0), IsReachedAsync(0, 1, link: 1));
        await network[1].CutAsync();
        Assert.False(await network[0].ReachesAsync(network[1].Address, TimeSpan.FromSeconds(1)));
        await Task.WhenAll(IsReachedAsync(0, 2), IsReachedAsync(0, 1, link: 1));
        // The host's card has not noticed.
        await network[1].RunAsync("sh", "-c", "ip link show dev eth0 | grep -q 'state UP'");
        await network[1].RestoreAsync();
        await IsReachedAsync(0, 1);

        async Task IsReachedAsync(int from, int to, int link = 0) => Assert.True(await network[from].ReachesAsync(network[to].AddressOn(link), TestTime.Seconds(10)));
    }

    [Fact]
    public async Task NetworksWithTheSameAddressesAreApartAndEachGoesAsAWhole()
    {
        await using HostNetwork other = await HostNetwork.StartAsync(hosts: 1);
        List<int> processes;
        await using (HostNetwork network = await HostNetwork.StartAsync(hosts: 2))
        {
            Assert.Equal(network[0].Address, other[0].Address);
            Assert.False(await other[0].ReachesAsync(network[1].Address, TimeSpan.FromSeconds(1)));
            // A stopped process does not see the end of its input.
            using Process stopped = network[1].Start("sh", "-c", "kill -STOP $$");
            // A process has the mark once it has become the program.
            Assert.True(SpinWait.SpinUntil(() => network.Processes.Count() == 4, TestTime.Seconds(20)));
            processes = [.. network.Processes];
        }
        Assert.True(SpinWait.SpinUntil(() => !processes.Exists(IsAlive), TestTime.Seconds(20)));
        Assert.Equal(2, other.Processes.Count());
    }

    [Fact]
    public async Task WhatARunThatHasEndedLeftIsEnded()
    {
        await using HostNetwork own = await HostNetwork.StartAsync(hosts: 1);
        // Its run is a process that has this number, but started at another time.
        using var leftover = Process.Start(new ProcessStartInfo("env", [$"ALLOCTOOLS_TEST_HOSTS={Environment.ProcessId}:1:1", "sleep", "600"]))!;
        try
        {
            // The process has the mark once it has become the program. The next network of another test may end it, too.
            using var limit = new CancellationTokenSource(TestTime.Seconds(20));
            while (!leftover.HasExited)
            {
                HostNetwork.EndLeftovers();
                await Task.Delay(10, limit.Token);
            }
            Assert.Equal(2, own.Processes.Count());
        }
        finally
        {
            if (!leftover.HasExited)
                leftover.Kill();
        }
    }

    private static bool IsAlive(int process) => Directory.Exists($"/proc/{process}");
}
