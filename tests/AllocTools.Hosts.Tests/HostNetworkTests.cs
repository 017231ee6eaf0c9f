using System.Diagnostics;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>The hosts themselves: what the other tests rely on.</summary>
public sealed class HostNetworkTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task HostsReachEachOtherUntilTheyAreCutAndAgainAfterwards()
    {
        await using HostNetwork network = await HostNetwork.StartAsync(links: 2);
        await Task.WhenAll(ReachesAsync(0, 1), ReachesAsync(1, 2), ReachesAsync(2, 0), ReachesAsync(0, 1, link: 1));
        await network[1].CutAsync();
        Assert.False(await IsAnsweredAsync(network[0], network[1].Address, TimeSpan.FromSeconds(1)));
        await Task.WhenAll(ReachesAsync(0, 2), ReachesAsync(0, 1, link: 1));
        // Its card has not noticed.
        await network[1].RunAsync("sh", "-c", "ip link show dev eth0 | grep -q 'state UP'");
        await network[1].RestoreAsync();
        await ReachesAsync(0, 1);

        async Task ReachesAsync(int from, int to, int link = 0) => Assert.True(await IsAnsweredAsync(network[from], network[to].AddressOn(link), TestTime.Seconds(10)));
    }

    [Fact]
    public async Task NetworksWithTheSameAddressesAreApartAndEachGoesAsAWhole()
    {
        await using HostNetwork other = await HostNetwork.StartAsync(hosts: 1);
        List<int> processes;
        await using (HostNetwork network = await HostNetwork.StartAsync(hosts: 2))
        {
            Assert.Equal(network[0].Address, other[0].Address);
            Assert.False(await IsAnsweredAsync(other[0], network[1].Address, TimeSpan.FromSeconds(1)));
            // One that is stopped does not see the end of its input.
            using Process stopped = Start(network[1], "sh", "-c", "kill -STOP $$");
            processes = [.. network.Processes];
            Assert.Equal(4, processes.Count);
        }
        Assert.DoesNotContain(processes, IsAlive);
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
            // The program that it is is the one that has the mark.
            while (!File.ReadAllText($"/proc/{leftover.Id}/environ").Contains("ALLOCTOOLS_TEST_HOSTS", StringComparison.Ordinal))
                await Task.Yield();
            HostNetwork.EndLeftovers();
            await leftover.WaitForExitAsync(Token).WaitAsync(TestTime.Seconds(20), Token);
            Assert.Equal(2, own.Processes.Count());
        }
        finally
        {
            if (!leftover.HasExited)
                leftover.Kill();
        }
    }

    private static bool IsAlive(int process) => Directory.Exists($"/proc/{process}");

    private static Process Start(NetworkHost host, params string[] command) => Process.Start(new ProcessStartInfo(host.Inside[0], [.. host.Inside[1..], .. command]) { RedirectStandardError = true })!;

    /// <summary>Whether a host answers at all: nothing listens there, so it refuses.</summary>
    private static async Task<bool> IsAnsweredAsync(NetworkHost from, string address, TimeSpan limit)
    {
        using Process connecting = Start(from, "timeout", FormattableString.Invariant($"{limit.TotalSeconds}"), "bash", "-c", $"exec 3<>/dev/tcp/{address}/9");
        string errors = await connecting.StandardError.ReadToEndAsync(Token);
        await connecting.WaitForExitAsync(Token);
        return errors.Contains("Connection refused", StringComparison.Ordinal);
    }
}
