using System.Diagnostics;
using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests an Orleans cluster over connections between hosts, on a bad day.</summary>
public sealed class OrleansTests
{
    public static TheoryData<string> Fabrics => [.. Service.Fabrics];

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AnOrleansClusterDeclaresAHostDeadThatIsKilledOrCutOffAndTheOthersAnswer(string fabric)
    {
        await using HostNetwork network = await HostNetwork.StartAsync(hosts: 4);
        string[] addresses = [.. network.Hosts.Select(static h => h.Address)];
        await using PeerProcess one = await StartSiloAsync(0);
        PeerProcess[] two = await Task.WhenAll(StartSiloAsync(1), StartSiloAsync(2));
        await using PeerProcess cutOff = two[0];
        await using PeerProcess killed = two[1];
        await using PeerProcess client = await FrameworkSide.StartAsync(network[3], fabric, "silo-client-on-host", addresses[0]);
        await BecomesAsync(client, "ask 60", $"{addresses[0]},{addresses[1]},{addresses[2]} across 0");
        Assert.Equal("dead ", await client.AskAsync("dead"));

        await killed.KillAsync();
        await BecomesAsync(client, "dead", $"dead {addresses[2]}");
        await BecomesAsync(client, "ask 60", $"{addresses[0]},{addresses[1]} across 0");

        await network[1].CutAsync();
        await BecomesAsync(client, "dead", $"dead {addresses[1]},{addresses[2]}");
        await BecomesAsync(client, "ask 60", $"{addresses[0]} inside 0");

        // The silo learns that the others have given it up, and ends. A new one takes its place.
        await network[1].RestoreAsync();
        Assert.NotEqual(0, (await cutOff.EndAsync()).ExitCode);
        await using PeerProcess next = await StartSiloAsync(1);
        // Active grains stay where they are, so grains that have not been called before are called as well.
        await BecomesAsync(client, "ask 120", $"{addresses[0]},{addresses[1]} across 0");
        await FrameworkSide.AssertEndsCleanAsync(client);
        await FrameworkSide.AssertEndsCleanAsync(next);
        await FrameworkSide.AssertEndsCleanAsync(one);

        Task<PeerProcess> StartSiloAsync(int host) => FrameworkSide.StartAsync(network[host], fabric, "silo-on-host", addresses[0], addresses[host]);
    }

    /// <summary>Waits until a question gets the expected answer.</summary>
    private static async Task BecomesAsync(PeerProcess process, string question, string expected)
    {
        var clock = Stopwatch.StartNew();
        string answer;
        while ((answer = await process.AskAsync(question)) != expected)
        {
            Assert.True(clock.Elapsed < TestTime.Seconds(60), $"To '{question}' the answer is '{answer}', not '{expected}'.");
            await Task.Delay(50, CancellationToken.None);
        }
        TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds:0.0} s: {answer}"));
    }
}
