using System.Diagnostics;
using System.Globalization;
using System.Net;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>Peers that hang beside healthy ones, and networks that are cut.</summary>
public sealed class BadDayTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>Over shm a call into libfabric does not return while a peer hangs whose queue is full: nothing above it can help.</summary>
    public static TheoryData<string> WithoutSharedMemory => [Fabric.Tcp, Fabric.PlainTcp, Fabric.Sockets, ConnectionSide.Ucx + UcxFabric.Tcp];

    [Theory, MemberData(nameof(WithoutSharedMemory))]
    public async Task APeerThatHangsLeavesTheEndpointToOthers(string fabric)
    {
        await using var hung = new PeerProcess("connections", fabric, "patient");
        await using var healthy = new PeerProcess("connections", fabric, "patient");
        await using var side = new ConnectionSide(fabric, static o => o.PeerTimeout = TimeSpan.FromMinutes(10), endpoint: static o => o.MaxOutstanding = 4);
        await using RmaConnection good = await ConnectAsync(side, IPAddress.Loopback, await healthy.AskAsync("listen echo"));
        string port = await hung.AskAsync("listen echo");
        var stuck = new List<RmaConnection>();
        for (int i = 0; i < 6; i++)
            stuck.Add(await ConnectAsync(side, IPAddress.Loopback, port));
        await EchoAsync(stuck[0]);
        await hung.SuspendAsync();
        // More writes than the endpoint has places for, none of which may ever end.
        foreach (RmaConnection connection in stuck)
        {
            for (int i = 0; i < 10; i++)
                await connection.Output.WriteAsync(new byte[500], Token);
        }
        for (int i = 0; i < 50; i++)
            await EchoAsync(good);
        Assert.InRange(side.Connections.Endpoint.GetStatistics().Outstanding, 0, 3);
        hung.Resume();
        foreach (RmaConnection connection in stuck)
            Assert.Equal(5000, (await connection.Input.ReadBytesAsync(5000)).Length);
        stuck.ForEach(static c => c.Abort());
        foreach (RmaConnection connection in stuck)
            await connection.DisposeAsync();
    }

    [Fact]
    public async Task ThePlacesThatTheApplicationHasTakenAreWaitedFor()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, endpoint: static o => o.MaxOutstanding = 1);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using RmaConnection left = await side.Connections.ConnectAsync(listener.EndPoint, Token);
        await using ConnectionContext right = (await listener.AcceptAsync(Token))!;
        IRmaEndpoint endpoint = side.Connections.Endpoint;
        using RmaBuffer buffer = side.Pool.Rent(100);
        using var cancel = new CancellationTokenSource();
        // A message that does not come: its end is nothing that connections hear of.
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer, cancellationToken: cancel.Token).AsTask();
        await left.Output.WriteAsync(new byte[10], Token);
        Task<byte[]> reading = right.Transport.Input.ReadBytesAsync(10);
        Assert.NotSame(reading, await Task.WhenAny(reading, Task.Delay(TimeSpan.FromMilliseconds(50), Token)));
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receiving);
        Assert.Equal(10, (await reading.WaitAsync(TestTime.Seconds(20), Token)).Length);
    }

    [Fact]
    public async Task ANetworkThatIsCutEndsTheConnectionInTimeAtBothSidesAndNothingIsLeft()
    {
        await using var network = new CutNetwork();
        await using var peer = new PeerProcess(network.Inside, ["connections", $"{Fabric.Tcp}@{CutNetwork.Peer}"]);
        await using var side = new ConnectionSide($"{Fabric.Tcp}@{CutNetwork.Own}", o => (o.HeartbeatInterval, o.PeerTimeout) = (TestTime.Seconds(0.2), TestTime.Seconds(2)), endpoint: static o => o.OperationTimeout = TestTime.Seconds(3));
        await using RmaConnection connection = await ConnectAsync(side, IPAddress.Parse(CutNetwork.Peer), await peer.AskAsync($"listen send {CutNetwork.Peer}"));
        await connection.Input.ReadBytesAsync(300_000);
        network.Cut();
        await Assert.ThrowsAsync<ConnectionResetException>(() => connection.Input.ReadToEndAsync().WaitAsync(TestTime.Seconds(20), Token));
        Assert.True((await connection.Output.WriteAsync(new byte[1], Token)).IsCompleted);
        await connection.DisposeAsync();
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        while (side.Connections.Count > 0 || side.Pool.GetStatistics().RentedBuffers > 0)
            await Task.Delay(20, limit.Token);
        // What the transport still has of its writes stays in quarantine until it lets go.
        while (!(await peer.AskAsync("left")).StartsWith("0 0 ", StringComparison.Ordinal))
            await Task.Delay(20, limit.Token);
        await side.Connections.DisposeAsync();
        Assert.Equal(0, side.Pool.GetStatistics().QuarantinedBuffers);
    }

    private static async Task EchoAsync(RmaConnection connection)
    {
        await connection.Output.WriteAsync(new byte[100], Token);
        Assert.Equal(100, (await connection.Input.ReadBytesAsync(100).WaitAsync(TestTime.Seconds(20), Token)).Length);
    }

    private static async Task<RmaConnection> ConnectAsync(ConnectionSide side, IPAddress address, string port) =>
        await side.Connections.ConnectAsync(new RmaEndPoint(address, int.Parse(port, CultureInfo.InvariantCulture)), Token);

    /// <summary>A network namespace, and the link to it. Both go with the test.</summary>
    private sealed class CutNetwork : IAsyncDisposable
    {
        private readonly string _name = $"alloctools{Environment.ProcessId}";

        public CutNetwork()
        {
            Run("netns", "add", _name);
            Run("link", "add", Link, "type", "veth", "peer", "name", "inner", "netns", _name);
            Run("addr", "add", $"{Own}/24", "dev", Link);
            Run("link", "set", Link, "up");
            Run("-n", _name, "addr", "add", $"{Peer}/24", "dev", "inner");
            Run("-n", _name, "link", "set", "inner", "up");
            Run("-n", _name, "link", "set", "lo", "up");
        }

        /// <summary>The addresses are the process's own: another one's test, or one that was killed, may have left others.</summary>
        private static string Net => string.Create(CultureInfo.InvariantCulture, $"10.{200 + (Environment.ProcessId / 256 % 50)}.{Environment.ProcessId % 256}");

        public static string Own => $"{Net}.1";

        public static string Peer => $"{Net}.2";

        /// <summary>What runs a program inside.</summary>
        public string[] Inside => ["ip", "netns", "exec", _name];

        private string Link => $"at{Environment.ProcessId}";

        /// <summary>Nothing gets through any more, in either direction, and neither side is told: what is sent goes to a card that is not there.</summary>
        public void Cut()
        {
            Run("neigh", "replace", Peer, "lladdr", "02:00:00:00:00:01", "dev", Link, "nud", "permanent");
            Run("-n", _name, "neigh", "replace", Own, "lladdr", "02:00:00:00:00:01", "dev", "inner", "nud", "permanent");
        }

        public ValueTask DisposeAsync()
        {
            Run("netns", "del", _name);
            return ValueTask.CompletedTask;
        }

        private static void Run(params string[] arguments)
        {
            using var ip = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardError = true })!;
            string error = ip.StandardError.ReadToEnd();
            ip.WaitForExit();
            Assert.True(ip.ExitCode == 0, $"ip {string.Join(' ', arguments)}: {error}");
        }
    }
}
