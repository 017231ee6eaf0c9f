using System.Net;
using System.Net.Sockets;
using AllocTools.Endpoints;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests peers that are gone: how soon operations to them fail, what is reported, and how they come back.</summary>
public sealed class LostPeerTests
{
    // Far more than any test takes: an operation that times out fails the test.
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(10);

    public static TheoryData<string> Fabrics => [.. Fabric.All];

    public static TheoryData<string> SocketFabrics => [.. Fabric.All.Where(f => f is Fabric.Tcp or Fabric.Sockets or Fabric.PlainTcp)];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task OperationsToAKilledPeerFailAtOnceAndItsLossIsReported(string fabric)
    {
        await using LocalSide side = await StartAsync(fabric);
        await using IAsyncEnumerator<RmaPeerChange> lost = side.Endpoint.ReadPeerChangesAsync(Token).GetAsyncEnumerator(Token);
        await side.Process.AskAsync("rent 65536 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 65536));
        using RmaBuffer source = side.Pool.Rent(64);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await side.Process.KillAsync();
        RmaPeerLostException error = await WriteUntilLostAsync(side, source, remote);
        Assert.Equal(side.Peer, error.Peer);
        Assert.True(error.IsTransient);
        Assert.NotEqual(0, error.ErrorCode);
        Assert.True(await lost.MoveNextAsync().AsTask().WaitAsync(TestTime.Seconds(30), Token));
        Assert.Equal(side.Peer, lost.Current.Peer);
        Assert.Contains(lost.Current.Reason, error.Message, StringComparison.Ordinal);
        for (int i = 0; i < 10; i++)
        {
            Assert.IsType<RmaPeerLostException>(await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask()));
            Assert.IsType<RmaPeerLostException>(await Record.ExceptionAsync(() => side.Endpoint.SendAsync(source, side.Peer, cancellationToken: Token).AsTask()));
            Assert.Throws<RmaPeerLostException>(() => { side.Endpoint.TryPost(RmaOperation.Write(source, remote)); });
        }
        await side.Endpoint.DisposeAsync();
        Assert.False(await lost.MoveNextAsync());
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatIsOutstandingWithAKilledPeerEndsBeforeItsTimeout(string fabric)
    {
        await using LocalSide side = await StartAsync(fabric);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        RmaBuffer[] sources = [.. Enumerable.Range(0, 32).Select(_ => side.Pool.Rent(1 << 20))];
        await side.Endpoint.WriteAsync(sources[0], remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        Task[] writes = [.. sources.Select(s => side.Endpoint.WriteAsync(s, remote, cancellationToken: Token).AsTask())];
        await side.Process.KillAsync();
        await Task.WhenAll(writes.Select(async w => await Record.ExceptionAsync(() => w))).WaitAsync(TestTime.Seconds(60), Token);
        foreach (RmaBuffer source in sources)
            source.Dispose();
    }

    // A stopped process still has its port and its file: it is slow, but not lost.
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AStoppedPeerIsSlowAndNotLost(string fabric)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(
            fabric,
            configure: o =>
            {
                o.Endpoint.OperationTimeout = Timeout;
                o.Endpoint.SlowPeerTime = TimeSpan.FromSeconds(1);
            });
        await using IAsyncEnumerator<RmaPeerChange> changes = side.Endpoint.ReadPeerChangesAsync(Token).GetAsyncEnumerator(Token);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        RmaBuffer[] sources = [.. Enumerable.Range(0, 16).Select(_ => side.Pool.Rent(1 << 20))];
        await side.Endpoint.WriteAsync(sources[0], remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        Task[] writes = [.. sources.Select(s => side.Endpoint.WriteAsync(s, remote, cancellationToken: Token).AsTask())];
        await AssertNext(RmaPeerState.Slow);
        // Longer than it takes to check a peer that does not answer.
        await Task.Delay(TimeSpan.FromSeconds(2), Token);
        side.Process.Resume();
        await Task.WhenAll(writes).WaitAsync(TestTime.Seconds(60), Token);
        await AssertNext(RmaPeerState.Up);
        foreach (RmaBuffer source in sources)
            source.Dispose();

        async Task AssertNext(RmaPeerState state)
        {
            Assert.True(await changes.MoveNextAsync().AsTask().WaitAsync(TestTime.Seconds(60), Token));
            Assert.Equal((side.Peer, state), (changes.Current.Peer, changes.Current.State));
        }
    }

    // Anybody may remove the name of a file; systemd does so at the end of a session. The process can still reach the
    // file that it has open.
    [Fact]
    public async Task APeerWhoseFileHasNoNameAnyMoreIsLostOnlyWhenItsProcessEnds()
    {
        await using LocalSide side = await StartAsync(Fabric.SharedMemoryByAddress);
        await using IAsyncEnumerator<RmaPeerChange> lost = side.Endpoint.ReadPeerChangesAsync(Token).GetAsyncEnumerator(Token);
        await side.Process.AskAsync("rent 4096 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 4096));
        using RmaBuffer source = side.Pool.Rent(4096);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        foreach (string file in Directory.EnumerateFiles("/dev/shm", $"alloctools-{side.Process.Id}-*"))
            File.Delete(file);
        // Each loss is found by a check of all peers. The first check may have begun before the file was removed, but
        // not the second.
        for (int i = 0; i < 2; i++)
        {
            await using PeerProcess other = new("fabric", Fabric.SharedMemoryByAddress, "RemoteWrite");
            RmaPeer peer = side.Endpoint.InsertPeer(Convert.FromBase64String(await other.AskAsync("address")));
            await other.KillAsync();
            Assert.True(await lost.MoveNextAsync().AsTask().WaitAsync(TestTime.Seconds(30), Token));
            Assert.Equal(peer, lost.Current.Peer);
        }
        source.Span.Fill(7);
        await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        Assert.Equal(Convert.ToHexString(source.Span), await side.Process.AskAsync("peek 0 0 4096"));
        await side.Process.KillAsync();
        Assert.True(await lost.MoveNextAsync().AsTask().WaitAsync(TestTime.Seconds(30), Token));
        Assert.Equal(side.Peer, lost.Current.Peer);
    }

    [Theory]
    [MemberData(nameof(SocketFabrics))]
    public async Task APeerThatIsStartedAgainAtItsAddressIsReachedOnceItIsInsertedAgain(string fabric)
    {
        string service = $"service={FreePort()}";
        await using LocalSide side = await StartAsync(fabric, service);
        using RmaBuffer source = side.Pool.Rent(4096);
        PeerProcess process = side.Process;
        RmaPeer peer = side.Peer;
        await using IAsyncEnumerator<RmaPeerChange> changes = side.Endpoint.ReadPeerChangesAsync(Token).GetAsyncEnumerator(Token);
        for (int round = 0; round < 10; round++)
        {
            await process.AskAsync($"rent 4096 {round}");
            RemoteMemory memory = RemoteMemory.Read(Convert.FromBase64String(await process.AskAsync("expose 0 0 4096 RemoteWrite")));
            using RemoteRegion remote = side.Endpoint.Import(peer, memory);
            source.Span.Fill((byte)(round + 100));
            await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
            Assert.Equal(Convert.ToHexString(source.Span), await process.AskAsync("peek 0 0 4096"));
            await process.KillAsync();
            if (process != side.Process)
                await process.DisposeAsync();
            // In every other round, nobody has noticed that it was away.
            if (round % 2 == 0)
                await WriteUntilLostAsync(side, source, remote);
            else
                side.Endpoint.RemovePeer(peer);
            process = new PeerProcess("fabric", fabric, "RemoteWrite", service);
            RmaPeer old = peer;
            peer = side.Endpoint.InsertPeer(Convert.FromBase64String(await process.AskAsync("address")));
            Assert.NotEqual(old, peer);
            if (round % 2 == 0)
            {
                Assert.Throws<ArgumentException>(() => { _ = side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask(); });
                // The owner of the old peer may still remove it, once.
                side.Endpoint.RemovePeer(old);
                Assert.True(await changes.MoveNextAsync());
                Assert.Equal((old, RmaPeerState.Lost), (changes.Current.Peer, changes.Current.State));
                Assert.True(await changes.MoveNextAsync());
                Assert.Equal((peer, RmaPeerState.Up), (changes.Current.Peer, changes.Current.State));
            }
            Assert.Throws<ArgumentException>(() => side.Endpoint.RemovePeer(old));
        }
        await process.DisposeAsync();
    }

    /// <summary>
    /// Starts a side that reports no slow peers: on a busy machine peers are slow before they are lost, which only one
    /// test expects.
    /// </summary>
    private static Task<LocalSide> StartAsync(string fabric, params string[] peerOptions) =>
        FabricProcesses.StartAsync(fabric, configure: o => (o.Endpoint.OperationTimeout, o.Endpoint.SlowPeerTime) = (Timeout, System.Threading.Timeout.InfiniteTimeSpan), peerOptions: peerOptions);

    /// <summary>
    /// Writes until the peer is lost. The first writes may fail with other errors, or wait until the peer is checked.
    /// </summary>
    private static async Task<RmaPeerLostException> WriteUntilLostAsync(LocalSide side, RmaBuffer source, RemoteRegion remote)
    {
        for (int i = 0; i < 100; i++)
        {
            Exception? error = await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(source.Slice(0, 64), remote, cancellationToken: Token).AsTask().WaitAsync(TestTime.Seconds(60), Token));
            if (error is RmaPeerLostException lost)
                return lost;
            if (error is not null)
                Assert.IsAssignableFrom<RmaOperationException>(error);
        }
        throw new InvalidOperationException("A hundred writes to a killed peer, and it is not lost.");
    }

    internal static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
