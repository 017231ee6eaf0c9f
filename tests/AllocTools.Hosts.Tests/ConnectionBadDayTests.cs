using System.Diagnostics;
using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Tests two hosts that are connected to a third one, when one of them has a bad day.</summary>
public sealed class ConnectionBadDayTests
{
    public static TheoryData<string> Fabrics => [.. Service.Fabrics];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AHostThatIsKilledLeavesNothingAndTheOtherOneGoesOn(string fabric)
    {
        await using Bed bed = await Bed.StartAsync(fabric);
        await bed.Second.KillAsync();
        await Bed.BecomesAsync(bed.Server, "1 ");
        Assert.Equal("taken", await bed.First.AskAsync("take 3000000"));
        await bed.EndAsync(bed.Server, bed.First);
    }

    /// <param name="fabric">The fabric.</param>
    /// <param name="isBusy">Whether the host is sent bytes when it stops. UCX 1.13 itself ends a process that has been
    /// stopped until it was given up, and then finds a write in its socket.</param>
    [Theory]
    [InlineData(Service.Libfabric, true)]
    [InlineData(Service.Libfabric, false)]
    [InlineData(Service.Ucx, false)]
    public async Task AHostThatHangsLosesItsConnectionAndConnectsAgainOnceItGoesOn(string fabric, bool isBusy)
    {
        await using Bed bed = await Bed.StartAsync(fabric, isBusy ? "send" : "echo");
        await bed.Second.SuspendAsync();
        await EndsAsync(bed.Server, "ended", "PeerTimeout");
        await bed.ReachesAsync(bed.First);
        bed.Second.Resume();
        await EndsAsync(bed.Second, "fail", "");
        Assert.DoesNotContain("error", await bed.ConnectAsync(bed.Second), StringComparison.Ordinal);
        await bed.ReachesAsync(bed.Second);
        await bed.ReachesAsync(bed.First);
        await bed.EndAsync(bed.Server, bed.First, bed.Second);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AHostThatIsCutOffLosesItsConnectionAtBothSidesAndConnectsAgainOnceItIsBack(string fabric)
    {
        await using Bed bed = await Bed.StartAsync(fabric);
        await bed.Network[2].CutAsync();
        await Task.WhenAll(EndsAsync(bed.Second, "fail", "PeerTimeout"), EndsAsync(bed.Server, "ended", "PeerTimeout"));
        await bed.ReachesAsync(bed.First);
        await bed.Network[2].RestoreAsync();
        await bed.ConnectsAgainAsync(bed.Second);
        await bed.ReachesAsync(bed.First);
        await bed.EndAsync(bed.Server, bed.First, bed.Second);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ACutThatIsShorterThanPeerTimeoutEndsNothing(string fabric)
    {
        await using Bed bed = await Bed.StartAsync(fabric);
        // TCP retries after pauses that double from 0.2 s, so it continues after a second at most.
        await bed.Network[2].CutAsync();
        await bed.Second.TellAsync("take 30000000");
        Task<string> taking = bed.Second.AnswerAsync();
        Assert.NotSame(taking, await Task.WhenAny(taking, Task.Delay(TimeSpan.FromSeconds(0.5), Token)));
        await bed.Network[2].RestoreAsync();
        Assert.Equal("taken", await taking);
        await bed.EndAsync(bed.Server, bed.First, bed.Second);
    }

    /// <summary>Asserts that a side's connection ends with an error in both directions, within PeerTimeout.</summary>
    private static async Task EndsAsync(PeerProcess side, string question, string error)
    {
        var clock = Stopwatch.StartNew();
        string end = await side.AskAsync(question);
        Assert.Contains(error, end, StringComparison.Ordinal);
        Assert.DoesNotContain("the stream has ended", end, StringComparison.Ordinal);
        Assert.DoesNotContain("writes go on", end, StringComparison.Ordinal);
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, Bed.PeerTimeout + TestTime.Seconds(5));
        TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds:0.0} s: {end}"));
    }

    /// <summary>A host whose process sends without end, or sends back what it receives, and two hosts that receive.</summary>
    internal sealed class Bed : IAsyncDisposable
    {
        /// <summary>The PeerTimeout of the test's peers.</summary>
        public static readonly TimeSpan PeerTimeout = TestTime.Seconds(3);

        private readonly string _fabric;
        private readonly string _what;
        private readonly List<PeerProcess> _processes = [];
        private string _port = "";

        private Bed(HostNetwork network, string fabric, string what) => (Network, _fabric, _what) = (network, fabric, what);

        public HostNetwork Network { get; }

        public PeerProcess Server => _processes[0];

        public PeerProcess First => _processes[1];

        public PeerProcess Second => _processes[2];

        public static async Task<Bed> StartAsync(string fabric, string what = "send")
        {
            var bed = new Bed(await HostNetwork.StartAsync(), fabric, what);
            bed._processes.AddRange(bed.Network.Hosts.Select(host => new PeerProcess(host.Inside, ["connections", bed._fabric.Replace("NODE", host.Address, StringComparison.Ordinal)])));
            bed._port = await bed.Server.AskAsync($"listen {what} {bed.Network[0].Address}");
            foreach (PeerProcess client in (PeerProcess[])[bed.First, bed.Second])
            {
                Assert.DoesNotContain("error", await bed.ConnectAsync(client), StringComparison.Ordinal);
                await bed.ReachesAsync(client);
            }
            return bed;
        }

        /// <summary>Asserts that much data arrives through a client's connection.</summary>
        public async Task ReachesAsync(PeerProcess client)
        {
            if (_what == "echo")
                Assert.Equal("same", await client.AskAsync("echo 300000"));
            else
                Assert.Equal("taken", await client.AskAsync("take 300000"));
        }

        public Task<string> ConnectAsync(PeerProcess client) => client.AskAsync($"connect {_port} {Network[0].Address}");

        /// <summary>
        /// Connects, and receives data. If a write to the old connection still arrives from the network, libfabric's
        /// tcp drops the native connection with it, and a connection that was meanwhile opened over it fails. In that
        /// case it connects once more.
        /// </summary>
        public async Task ConnectsAgainAsync(PeerProcess client)
        {
            using var limit = new CancellationTokenSource(TestTime.Seconds(30));
            while (true)
            {
                string connected = await ConnectAsync(client);
                string taken = connected.StartsWith("error ", StringComparison.Ordinal) ? connected : await client.AskAsync("take 300000");
                TestContext.Current.SendDiagnosticMessage($"connected again: {taken}");
                if (taken == "taken")
                    return;
                Assert.StartsWith("error ", taken, StringComparison.Ordinal);
                Assert.False(limit.IsCancellationRequested, taken);
            }
        }

        /// <summary>Waits until a process has a number of connections, and nothing in quarantine.</summary>
        public static async Task BecomesAsync(PeerProcess process, string connections)
        {
            using var limit = new CancellationTokenSource(TestTime.Seconds(30));
            string left;
            while (!(left = await process.AskAsync("left")).StartsWith(connections, StringComparison.Ordinal) || !left.EndsWith(" 0", StringComparison.Ordinal))
            {
                Assert.False(limit.IsCancellationRequested, string.Create(CultureInfo.InvariantCulture, $"Left are {left} (connections, buffers rented, in quarantine), not {connections}and none in quarantine."));
                await Task.Delay(20, CancellationToken.None);
            }
        }

        /// <summary>Closes all connections and endpoints, and asserts that nothing is left.</summary>
        public async Task EndAsync(params PeerProcess[] processes)
        {
            foreach (PeerProcess process in processes.Reverse())
            {
                Assert.Equal("ended", await process.AskAsync("end"));
                await BecomesAsync(process, "0 0 ");
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (PeerProcess process in _processes)
                await process.DisposeAsync();
            await Network.DisposeAsync();
        }
    }
}
