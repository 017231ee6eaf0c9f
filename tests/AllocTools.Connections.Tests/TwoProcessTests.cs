using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>Tests a peer in another process, which may die.</summary>
public sealed class TwoProcessTests
{
    public static TheoryData<string> Fabrics => new(ConnectionSide.BetweenProcesses);

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AllBytesComeBack(string fabric)
    {
        await using var peer = new PeerProcess("connections", fabric);
        await using var side = new ConnectionSide(fabric, IsHeard);
        await using RmaConnection connection = await ConnectAsync(side, await peer.AskAsync("listen echo"));
        byte[] sent = RandomNumberGenerator.GetBytes(4_000_000);
        Task writing = Task.Run(async () =>
        {
            for (int at = 0; at < sent.Length; at += 7_000)
                await connection.Output.WriteAsync(sent.AsMemory(at, Math.Min(7_000, sent.Length - at)));
            await connection.Output.CompleteAsync();
        }, TestContext.Current.CancellationToken);
        byte[] received = await connection.Input.ReadToEndAsync();
        await writing;
        Assert.Equal(sent, received);
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
        await IsCleanAsync(peer);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task APeerThatIsKilledEndsBothDirections(string fabric)
    {
        await using var peer = new PeerProcess("connections", fabric);
        await using var side = new ConnectionSide(fabric, IsHeard);
        await using RmaConnection connection = await ConnectAsync(side, await peer.AskAsync("listen send"));
        // The peer is killed while it sends.
        await connection.Input.ReadBytesAsync(300_000);
        await peer.KillAsync();
        await Assert.ThrowsAsync<ConnectionResetException>(() => connection.Input.ReadToEndAsync());
        Assert.True((await connection.Output.WriteAsync(new byte[1], TestContext.Current.CancellationToken)).IsCompleted);
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
    }

    /// <summary>Gets the fabrics that soon notice the end of a peer to which nothing is sent.</summary>
    public static TheoryData<string> ThatNotice => new(ConnectionSide.BetweenProcesses.Where(static f => f.StartsWith("shm", StringComparison.Ordinal) || f == ConnectionSide.Ucx + UcxFabric.Tcp));

    [Theory, MemberData(nameof(ThatNotice))]
    public async Task AProcessThatEndsAfterItsConnectionsIsNotReportedAsLost(string fabric)
    {
        var log = new LogRecorder();
        await using var peer = new PeerProcess("connections", fabric);
        // This side keeps the peer for longer than the peer lives.
        await using var side = new ConnectionSide(fabric, static o => (o.HeartbeatInterval, o.LateWrites) = (TestTime.Seconds(0.2), TimeSpan.FromMinutes(10)), log.Factory);
        string port = await peer.AskAsync("listen echo");
        await using RmaConnection held = await ConnectAsync(side, port);
        await using RmaConnection disposed = await ConnectAsync(side, port);
        foreach (RmaConnection connection in (RmaConnection[])[held, disposed])
        {
            await connection.Output.WriteAsync(new byte[1000], TestContext.Current.CancellationToken);
            await connection.Output.CompleteAsync();
            Assert.Equal(1000, (await connection.Input.ReadToEndAsync()).Length);
        }
        await disposed.DisposeAsync();
        RmaDriverPeer entry = held.Peer.Entry!;
        await peer.ReadToEndAsync();
        await BecomesAsync(() => entry.IsLost);
        Assert.Equal(0, side.Connections.Endpoint.GetStatistics().PeerChanges[RmaPeerState.Lost]);
        Assert.DoesNotContain(log.All, static l => l.Id == 50);
    }

    [Theory, MemberData(nameof(ThatNotice))]
    public async Task AProcessThatIsKilledWithAConnectionOpenIsReportedAsLost(string fabric)
    {
        var log = new LogRecorder();
        await using var peer = new PeerProcess("connections", fabric);
        await using var side = new ConnectionSide(fabric, static o => (o.HeartbeatInterval, o.LateWrites) = (TestTime.Seconds(0.2), TimeSpan.FromMinutes(10)), log.Factory);
        await using RmaConnection connection = await ConnectAsync(side, await peer.AskAsync("listen echo"));
        await peer.KillAsync();
        await log.SingleAsync(50);
        Assert.Equal(1, side.Connections.Endpoint.GetStatistics().PeerChanges[RmaPeerState.Lost]);
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task APeerThatHangsEndsTheConnectionInTimeAndItsMemoryComesBackOnceItGoesOn(string fabric)
    {
        await using var peer = new PeerProcess("connections", fabric);
        await using var side = new ConnectionSide(fabric, o => (o.HeartbeatInterval, o.PeerTimeout) = (TestTime.Seconds(0.2), TestTime.Seconds(2)));
        await using RmaConnection connection = await ConnectAsync(side, await peer.AskAsync("listen echo"));
        await connection.Output.WriteAsync(new byte[100], TestContext.Current.CancellationToken);
        await connection.Input.ReadBytesAsync(100);
        await peer.SuspendAsync();
        ConnectionResetException error = await Assert.ThrowsAsync<ConnectionResetException>(() => connection.Input.ReadToEndAsync());
        Assert.Contains("PeerTimeout", error.Message, StringComparison.Ordinal);
        await connection.DisposeAsync();
        // The peer might write once it continues.
        Assert.Equal(1, side.Connections.Count);
        Assert.Equal((0, 1), side.Pool.GetStatistics() is var now ? (now.RentedBuffers, now.QuarantinedBuffers) : default);
        peer.Resume();
        await side.BecomesCleanAsync();
        await IsCleanAsync(peer);
    }

    [Theory]
    [InlineData(false, "shm")]
    [InlineData(true, Fabric.Tcp)]
    public async Task ProcessesThatShareMemoryUseItWhereBothSidesSaySo(bool isApart, string carries)
    {
        string[] apart = isApart ? ["unshare", "--ipc"] : [];
        await using var peer = new PeerProcess(apart, ["connections", Fabric.Tcp, "local"]);
        await using var near = new ConnectionSide(Fabric.SharedMemoryByAddress, IsHeard);
        await using var side = new ConnectionSide(Fabric.Tcp, IsHeard, local: near);
        await using RmaConnection connection = await ConnectAsync(side, await peer.AskAsync("listen echo"));
        Assert.Equal(carries, connection.Provider);
        byte[] sent = RandomNumberGenerator.GetBytes(100_000);
        Task writing = Task.Run(async () => await connection.Output.WriteAsync(sent), TestContext.Current.CancellationToken);
        Assert.Equal(sent, await connection.Input.ReadBytesAsync(sent.Length));
        await writing;
        await peer.KillAsync();
        await Assert.ThrowsAsync<ConnectionResetException>(() => connection.Input.ReadToEndAsync());
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
        await near.BecomesCleanAsync();
    }

    /// <summary>
    /// Sends heartbeats more often than the peer's PeerTimeout: a slow transfer would be mistaken for a peer that
    /// hangs.
    /// </summary>
    private static void IsHeard(RmaConnectionOptions options) => options.HeartbeatInterval = TestTime.Seconds(0.2);

    private static async Task<RmaConnection> ConnectAsync(ConnectionSide side, string port) => await side.Connections.ConnectAsync(
        new RmaEndPoint(IPAddress.Loopback, int.Parse(port, CultureInfo.InvariantCulture)), TestContext.Current.CancellationToken);

    private static async Task BecomesAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        while (!condition())
            await Task.Delay(20, limit.Token);
    }

    private static async Task IsCleanAsync(PeerProcess peer)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        string left;
        while ((left = await peer.AskAsync("left")) != "0 0 0")
        {
            Assert.False(limit.IsCancellationRequested, $"At the peer are left: {left} (connections, buffers rented, in quarantine).");
            await Task.Delay(20, CancellationToken.None);
        }
    }
}
