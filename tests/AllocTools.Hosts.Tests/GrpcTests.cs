using System.Diagnostics;
using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests gRPC streams over connections between hosts, on a bad day.</summary>
public sealed class GrpcTests
{
    /// <summary>The PeerTimeout of the connections. Outstanding calls may take a second longer.</summary>
    private static readonly TimeSpan PeerTimeout = TestTime.Seconds(3);

    [Theory]
    [InlineData(Service.Libfabric)]
    [InlineData(Service.Ucx)]
    public async Task AGrpcStreamEndsWithAnErrorAtBothSidesAndANewOneWorksAfterIt(string fabric)
    {
        await using HostNetwork network = await HostNetwork.StartAsync();
        string address = network[0].Address;
        await using PeerProcess first = await FrameworkSide.StartAsync(network[1], fabric, "grpc-client", address);
        await using PeerProcess second = await FrameworkSide.StartAsync(network[2], fabric, "grpc-client", address);
        await using (PeerProcess server = await StartServerAsync())
        {
            Assert.Equal("ok", await first.AskAsync("start 100"));
            Assert.Equal("whole", await first.AskAsync("end"));
            Assert.Equal("whole", await server.AskAsync("ended"));
            foreach (PeerProcess client in (PeerProcess[])[first, second])
            {
                Assert.Equal("ok", await client.AskAsync("start 1000000"));
                await ReadsOnAsync(client);
            }

            await network[2].CutAsync();
            await Task.WhenAll(EndsAsync(second, "end", "error Unavailable: "), EndsAsync(server, "ended", "error "));
            await ReadsOnAsync(first);
            await network[2].RestoreAsync();
            await StreamsAgainAsync(second, server);
            await ReadsOnAsync(first);

            Assert.Equal("ok", await second.AskAsync("start 1000000"));
            await ReadsOnAsync(second);
            await first.KillAsync();
            await EndsAsync(server, "ended", "error ");
            await ReadsOnAsync(second);
            await server.KillAsync();
            await EndsAsync(second, "end", "error Unavailable: ");
        }

        await using PeerProcess next = await StartServerAsync();
        await StreamsAgainAsync(second, next);
        // If a client is cut off meanwhile, nothing is left at the server, either.
        Assert.Equal("ok", await second.AskAsync("start 1000000"));
        await ReadsOnAsync(second);
        await network[2].CutAsync();
        await EndsAsync(next, "ended", "error ");
        await FrameworkSide.AssertEndsCleanAsync(next);
        await EndsAsync(second, "end", "error Unavailable: ");
        await FrameworkSide.AssertEndsCleanAsync(second);

        Task<PeerProcess> StartServerAsync() => FrameworkSide.StartAsync(network[0], fabric, "grpc-server", address);
    }

    private static async Task ReadsOnAsync(PeerProcess client)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        int last = await ReadAsync() + 20;
        while (await ReadAsync() is var now && now < last)
        {
            if (limit.IsCancellationRequested)
                Assert.Fail($"{now} messages were read, not {last}.");
            await Task.Delay(20, CancellationToken.None);
        }

        async Task<int> ReadAsync() => int.Parse(await client.AskAsync("read"), CultureInfo.InvariantCulture);
    }

    /// <summary>
    /// Waits until a new stream succeeds. Until the transport has let go of the old one's operations, a new one may
    /// fail as well.
    /// </summary>
    private static async Task StreamsAgainAsync(PeerProcess client, PeerProcess server)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            Assert.Equal("ok", await client.AskAsync("start 100"));
            string end = await client.AskAsync("end");
            TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds:0.0} s: {end}"));
            if (end == "whole")
                break;
            Assert.StartsWith("error Unavailable: ", end, StringComparison.Ordinal);
            Assert.True(clock.Elapsed < TestTime.Seconds(30), end);
        }
        while (await server.AskAsync("ended") != "whole")
            Assert.True(clock.Elapsed < TestTime.Seconds(60), "The server's side of the stream has not ended.");
    }

    /// <summary>Asserts that a side of a stream ends with an error, within the timeouts.</summary>
    private static async Task EndsAsync(PeerProcess side, string question, string error)
    {
        var clock = Stopwatch.StartNew();
        string end = await side.AskAsync(question);
        Assert.StartsWith(error, end, StringComparison.Ordinal);
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, (2 * PeerTimeout) + TestTime.Seconds(5));
        TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds:0.0} s: {end}"));
    }
}
