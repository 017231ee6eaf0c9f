using System.Globalization;
using AllocTools.Testing;

namespace AllocTools.Hosts.Tests;

/// <summary>Two hosts that are connected to a third one, one of which has a bad day.</summary>
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

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ACutThatIsShorterThanPeerTimeoutEndsNothing(string fabric)
    {
        await using Bed bed = await Bed.StartAsync(fabric);
        // TCP tries again after pauses that double from 0.2 s, so it goes on a second later at the latest.
        await bed.Network[2].CutAsync();
        await bed.Second.TellAsync("take 30000000");
        Task<string> taking = bed.Second.AnswerAsync();
        Assert.NotSame(taking, await Task.WhenAny(taking, Task.Delay(TimeSpan.FromSeconds(0.5), Token)));
        await bed.Network[2].RestoreAsync();
        Assert.Equal("taken", await taking);
        await bed.EndAsync(bed.Server, bed.First, bed.Second);
    }

    /// <summary>A host whose process sends without end, and two that take it.</summary>
    internal sealed class Bed : IAsyncDisposable
    {
        private readonly string _fabric;
        private readonly List<PeerProcess> _processes = [];
        private string _port = "";

        private Bed(HostNetwork network, string fabric) => (Network, _fabric) = (network, fabric);

        public HostNetwork Network { get; }

        public PeerProcess Server => _processes[0];

        public PeerProcess First => _processes[1];

        public PeerProcess Second => _processes[2];

        public static async Task<Bed> StartAsync(string fabric)
        {
            var bed = new Bed(await HostNetwork.StartAsync(), fabric);
            bed._processes.AddRange(bed.Network.Hosts.Select(host => new PeerProcess(host.Inside, ["connections", bed._fabric.Replace("NODE", host.Address, StringComparison.Ordinal)])));
            bed._port = await bed.Server.AskAsync($"listen send {bed.Network[0].Address}");
            foreach (PeerProcess client in (PeerProcess[])[bed.First, bed.Second])
            {
                Assert.DoesNotContain("error", await bed.ConnectAsync(client), StringComparison.Ordinal);
                Assert.Equal("taken", await client.AskAsync("take 300000"));
            }
            return bed;
        }

        public Task<string> ConnectAsync(PeerProcess client) => client.AskAsync($"connect {_port} {Network[0].Address}");

        /// <summary>Waits until a process has so many connections, and nothing in quarantine.</summary>
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

        /// <summary>All close their connections and endpoints, and nothing is left.</summary>
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
