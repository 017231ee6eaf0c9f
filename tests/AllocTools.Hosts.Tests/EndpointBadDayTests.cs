using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <inheritdoc/>
public sealed class LibfabricEndpointBadDayTests() : EndpointBadDayTests(Service.Libfabric);

/// <inheritdoc/>
public sealed class UcxEndpointBadDayTests() : EndpointBadDayTests(Service.Ucx);

/// <summary>Tests the operations between hosts when one of them has a bad day, and those between the others.</summary>
public abstract partial class EndpointBadDayTests(string fabric)
{
    [Fact]
    public async Task AHostThatIsKilledEndsOnlyWhatGoesToIt()
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        await using Services services = await Services.StartBusyAsync(network, fabric);
        await services[2].Process.KillAsync();
        await AssertEndsAsync(services[0], services[2]);
        await AssertEndsAsync(services[1], services[2]);
        await Services.AssertGoesOnAsync(services[0], services[1]);
        await services.CloseAsync(services[2]);
    }

    [Fact]
    public async Task AHostThatHangsEndsOnlyWhatGoesToItAndIsReachedAgainOnceItGoesOn()
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        await using Services services = await Services.StartBusyAsync(network, fabric);
        await services[2].Process.SuspendAsync();
        await AssertEndsAsync(services[0], services[2]);
        await AssertEndsAsync(services[1], services[2]);
        await Services.AssertGoesOnAsync(services[0], services[1]);
        services[2].Process.Resume();
        await AssertIsReachedAgainAsync(services);
    }

    [Fact]
    public async Task AHostThatIsCutOffEndsOperationsAtBothSidesAndIsReachedAgainOnceItIsBack()
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        await using Services services = await Services.StartBusyAsync(network, fabric);
        await network[2].CutAsync();
        await Task.WhenAll(AssertEndsAsync(services[0], services[2]), AssertEndsAsync(services[1], services[2]));
        await AssertEndsAsync(services[2], services[0]);
        await AssertEndsAsync(services[2], services[1]);
        await Services.AssertGoesOnAsync(services[0], services[1]);
        // TCP's pauses double: once the host is back, an old connection is not retried for longer than an operation may take.
        await Task.Delay(Service.OperationTimeout * 3 / 4, TestContext.Current.CancellationToken);
        await network[2].RestoreAsync();
        await AssertIsReachedAgainAsync(services);
    }

    [Fact]
    public async Task ACutThatIsShorterThanTheTimeOutEndsNothing()
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        await using Services services = await Services.StartBusyAsync(network, fabric);
        await network[2].CutAsync();
        // The rounds stand still, which shows that nothing gets through.
        await services[0].StandsStillAsync(services[2]);
        await network[2].RestoreAsync();
        foreach (Service service in services.All)
        {
            foreach (Service other in services.OthersOf(service))
                await service.ReachesAsync(other, rounds: 5);
        }
        await services.CloseAsync();
    }

    /// <summary>
    /// The new process has the address, the port and the number of places of the dead one, but is a different process.
    /// </summary>
    [Fact]
    public async Task WhatWasForADeadProcessNeverReachesTheOneThatTookItsAddress()
    {
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 2);
        // There are so few ports that the new process gets the same ones.
        await network[1].SetPortsAsync(40_000, 40_003);
        string[] port = fabric.StartsWith("tcp", StringComparison.Ordinal) ? ["service=41000"] : [];
        await using var writer = new Service(network[0], fabric, 0);
        await using var dead = new Service(network[1], fabric, 1, port);
        await writer.StartTrafficAsync(dead);
        await writer.ReachesAsync(dead, rounds: 5);
        await dead.Process.KillAsync();
        await using var next = new Service(network[1], fabric, 1, port);
        Assert.Equal("untouched", await next.AskAsync("place 0"));
        await AssertEndsAsync(writer, dead);
        // This uses the old region once more.
        Assert.Equal("ok", await writer.AskAsync("start 1"));
        Assert.StartsWith("Rma", Error().Match(await writer.AskAsync("end 1")).Groups["error"].Value, StringComparison.Ordinal);
        Assert.Equal("untouched", await next.AskAsync("place 0"));
        Assert.Equal("0", await next.AskAsync("notified 0"));
        await writer.StartTrafficAsync(next);
        await writer.ReachesAsync(next, rounds: 5);
        Assert.Equal("halted", await writer.AskAsync("halt 1"));
        Assert.Equal("whole", await next.AskAsync("place 0"));
        Assert.Equal(Service.NothingLeft, await writer.AskAsync("close"));
        Assert.Equal(Service.NothingLeft, await next.AskAsync("close"));
    }

    /// <param name="isSilent">Whether the packets vanish on the way back, so that the sender has no sign of it;
    /// otherwise the sender's own system refuses to send.</param>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task APeerBehindABlackholeDoesNotDelayAHealthyOne(bool isSilent)
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        await using Services services = await Services.StartAsync(network, fabric);
        (Service sender, Service healthy, Service behind) = (services[0], services[1], services[2]);
        await sender.StartTrafficAsync(healthy);
        await sender.StartTrafficAsync(behind);
        await sender.ReachesAsync(behind, rounds: 5);
        await sender.ReachesAsync(healthy, rounds: 5);
        int before = await RoundsInASecondAsync();
        (string stranger, string memory) = (await behind.AskAsync("also 1"), (await behind.AskAsync("address")).Split(' ')[1]);
        await (isSilent ? network[2].BlackholeAsync(network[0]) : network[0].BlackholeAsync(network[2]));
        int meanwhile = await RoundsInASecondAsync();
        await AssertEndsAsync(sender, behind);
        int atFirst = await sender.RoundsAsync(healthy);
        await sender.StartTrafficAsync(behind);
        await AssertEndsAsync(sender, behind);
        // An endpoint that it has not met before can't be reached either: there is no connection yet. The sender's own
        // system may report that at once.
        string met = await sender.AskAsync($"meet stranger 3 {stranger} {memory}");
        if (met == "ok")
        {
            Assert.Equal("ok", await sender.AskAsync("start stranger"));
            await AssertEndsAsync(sender, "stranger");
        }
        Assert.True(met == "ok" || (!isSilent && met.Contains("EHOSTUNREACH", StringComparison.Ordinal)), met);
        atFirst = await sender.RoundsAsync(healthy) - atFirst;
        // A round takes about a millisecond. If calls waited for the other peer, which is given up only after seconds,
        // there would be one or two.
        Assert.True(meanwhile >= 10, $"{meanwhile} rounds in a second beside a peer that had vanished, {before} before");
        Assert.True(atFirst > 0, "No round was done while a peer could not be reached.");
        await sender.ReachesAsync(healthy, rounds: 5);
        await services.CloseAsync();

        async Task<int> RoundsInASecondAsync()
        {
            int first = await sender.RoundsAsync(healthy);
            await Task.Delay(TestTime.Seconds(1), TestContext.Current.CancellationToken);
            return await sender.RoundsAsync(healthy) - first;
        }
    }

    [Fact]
    public async Task FortyPeersAreReachedWithSixtyPorts()
    {
        const int PeersOfAHost = 20;
        await using HostNetwork network = await HostNetwork.StartAsync();
        await network[0].SetPortsAsync(40_000, 40_059);
        await using Services services = await Services.StartAsync(network, fabric);
        Service hub = services[0];
        int number = 0;
        foreach (Service owner in (Service[])[services[1], services[2]])
        {
            string memory = (await owner.AskAsync("address")).Split(' ')[1];
            foreach (string address in (await owner.AskAsync($"also {PeersOfAHost}")).Split(' '))
            {
                Assert.Equal("ok", await hub.AskAsync($"meet {number} {number} {address} {memory}"));
                Assert.Equal("ok", await hub.AskAsync($"start {number++}"));
            }
        }
        Assert.Equal(2 * PeersOfAHost, number);
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        for (int peer = 0; peer < number; peer++)
        {
            while (int.Parse(await hub.AskAsync($"rounds {peer}"), CultureInfo.InvariantCulture) < 2)
                await Task.Delay(20, limit.Token);
        }
        for (int peer = 0; peer < number; peer++)
        {
            Assert.Equal("halted", await hub.AskAsync($"halt {peer}"));
            Assert.Equal("whole", await services[1 + (peer / PeersOfAHost)].AskAsync($"place {peer}"));
        }
        await services.CloseAsync();
    }

    /// <summary>
    /// Asserts that the traffic ends with an error of the library, within the timeout of the operation that failed.
    /// </summary>
    internal static Task AssertEndsAsync(Service service, Service other) => AssertEndsAsync(service, $"{other.Number}");

    private static async Task AssertEndsAsync(Service service, string traffic)
    {
        string end = await service.AskAsync($"end {traffic}");
        Match match = Error().Match(end);
        Assert.True(match.Success, end);
        // A batch and a read may each take as long as an operation may.
        Assert.InRange(double.Parse(match.Groups["seconds"].Value, CultureInfo.InvariantCulture), 0, (3 * Service.OperationTimeout + TestTime.Seconds(5)).TotalSeconds);
        TestContext.Current.SendDiagnosticMessage($"{service.Number} to {traffic}: {end}");
    }

    private static async Task AssertIsReachedAgainAsync(Services services)
    {
        foreach (Service service in services.All)
        {
            foreach (Service other in services.OthersOf(service))
            {
                if (service != services[2] && other != services[2])
                    continue;
                await AssertIsReachedAgainAsync(service, other);
            }
        }
        await Services.AssertGoesOnAsync(services[0], services[1]);
        await services.CloseAsync();
    }

    /// <summary>
    /// Waits until a service is reached again. As long as the transport keeps an old connection, TCP retries it only
    /// after a pause about as long as it has tried in vain. Until then, operations time out.
    /// </summary>
    private static async Task AssertIsReachedAgainAsync(Service service, Service other)
    {
        var clock = Stopwatch.StartNew();
        string end = await service.AskAsync($"halt {other.Number}");
        do
        {
            Assert.True(clock.Elapsed < TestTime.Seconds(60), end);
            await service.StartTrafficAsync(other);
            end = await service.AskAsync($"halt {other.Number}");
            Assert.True(end == "halted" || Error().IsMatch(end), end);
        }
        while (await service.RoundsAsync(other) == 0);
        TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"{service.Number} reaches {other.Number} again after {clock.Elapsed.TotalSeconds:0.0} s"));
        await service.StartTrafficAsync(other);
        await service.ReachesAsync(other, rounds: 5);
    }

    [GeneratedRegex(@"^(?<seconds>[0-9.]+) s (?<error>Rma\w+Exception): ")]
    private static partial Regex Error();
}
