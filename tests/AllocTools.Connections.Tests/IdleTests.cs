using System.Globalization;
using System.Net;
using AllocTools.Connections.Tests.Support;
using AllocTools.Testing;

namespace AllocTools.Connections.Tests;

/// <summary>
/// Tests the cost of idle connections. Nothing else runs meanwhile, because the memory of the whole process is
/// measured.
/// </summary>
[Collection(nameof(IdleTests))]
[CollectionDefinition(nameof(IdleTests), DisableParallelization = true)]
public sealed class IdleTests
{
    [Fact]
    public async Task TenThousandIdleConnectionsHoldLessThanAHundredMebibytes()
    {
        const int Connections = 10_000;
        await using var peer = new PeerProcess("connections", Fabric.Tcp, "patient");
        await using var side = new ConnectionSide(Fabric.Tcp, static o => (o.PeerTimeout, o.HeartbeatInterval) = (TestTime.Seconds(60), TestTime.Seconds(5)));
        var endPoint = new RmaEndPoint(IPAddress.Loopback, int.Parse(await peer.AskAsync("listen echo"), CultureInfo.InvariantCulture));
        long before = GC.GetTotalMemory(forceFullCollection: true);
        var open = new RmaConnection[Connections];
        await Parallel.ForAsync(0, Connections, new ParallelOptions { MaxDegreeOfParallelism = 32, CancellationToken = TestContext.Current.CancellationToken }, async (i, token) =>
        {
            open[i] = await side.Connections.ConnectAsync(endPoint, token);
            // Each connection is used once.
            await open[i].Output.WriteAsync(new byte[100], token);
            Assert.Equal(100, (await open[i].Input.ReadBytesAsync(100)).Length);
        });
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        while (side.Pool.GetStatistics() is var now && now.RentedBuffers > Connections)
        {
            Assert.False(limit.IsCancellationRequested, $"{now.RentedBuffers} buffers of {now.RentedBytes} bytes are rented.");
            await Task.Delay(100, CancellationToken.None);
        }
        long managed = GC.GetTotalMemory(forceFullCollection: true) - before, pool = side.Pool.GetStatistics().RentedBytes;
        TestContext.Current.TestOutputHelper!.WriteLine($"{managed / Connections} bytes of the heap, {pool / Connections} of the pool for each.");
        Assert.True(pool <= 16 << 20 && managed + pool < 100 << 20, $"{managed} bytes of the heap and {pool} of the pool.");
        await Parallel.ForEachAsync(open, TestContext.Current.CancellationToken, static async (c, _) => await c.DisposeAsync());
        await side.BecomesCleanAsync();
    }
}
