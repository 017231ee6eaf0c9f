using System.Globalization;
using System.Net;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>Tests peers that hang beside healthy ones.</summary>
public sealed class BadDayTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>
    /// Over shm, a call into libfabric does not return while a peer with a full queue hangs: nothing above it can help.
    /// </summary>
    public static TheoryData<string> WithoutSharedMemory => [Fabric.Tcp, Fabric.PlainTcp, Fabric.Sockets, ConnectionSide.Ucx + UcxFabric.Tcp];

    [Theory, MemberData(nameof(WithoutSharedMemory))]
    public async Task APeerThatHangsLeavesTheEndpointToOthers(string fabric)
    {
        await using var hung = new PeerProcess("connections", fabric, "patient");
        await using var healthy = new PeerProcess("connections", fabric, "patient");
        await using var side = new ConnectionSide(fabric, static o => o.PeerTimeout = TimeSpan.FromMinutes(10), endpoint: static o => o.MaxOutstanding = 4);
        await using RmaConnection good = await ConnectAsync(side, await healthy.AskAsync("listen echo"));
        string port = await hung.AskAsync("listen echo");
        var stuck = new List<RmaConnection>();
        for (int i = 0; i < 6; i++)
            stuck.Add(await ConnectAsync(side, port));
        await EchoAsync(stuck[0]);
        await hung.SuspendAsync();
        // There are more writes than the endpoint has slots for, and none of them may ever end.
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
        // A receive without a message: connections are not told of its end.
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer, cancellationToken: cancel.Token).AsTask();
        await left.Output.WriteAsync(new byte[10], Token);
        Task<byte[]> reading = right.Transport.Input.ReadBytesAsync(10);
        Assert.NotSame(reading, await Task.WhenAny(reading, Task.Delay(TimeSpan.FromMilliseconds(50), Token)));
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receiving);
        Assert.Equal(10, (await reading.WaitAsync(TestTime.Seconds(20), Token)).Length);
    }

    private static async Task EchoAsync(RmaConnection connection)
    {
        await connection.Output.WriteAsync(new byte[100], Token);
        Assert.Equal(100, (await connection.Input.ReadBytesAsync(100).WaitAsync(TestTime.Seconds(20), Token)).Length);
    }

    private static async Task<RmaConnection> ConnectAsync(ConnectionSide side, string port) =>
        await side.Connections.ConnectAsync(new RmaEndPoint(IPAddress.Loopback, int.Parse(port, CultureInfo.InvariantCulture)), Token);
}
