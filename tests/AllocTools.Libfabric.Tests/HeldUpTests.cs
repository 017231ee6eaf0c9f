using AllocTools.Endpoints;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests one peer that is stopped or killed while others go on: libfabric's shm reads the answers of all of them in one
/// order.
/// </summary>
public sealed class HeldUpTests
{
    private const int Outstanding = 40;

    // Far more than any test takes: an operation that times out fails the test.
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(10);

    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AStoppedPeerHoldsUpNoOtherAndGoesOnWhenItIsContinued(string fabric)
    {
        await using LocalSide side = await StartAsync(fabric);
        await using PeerProcess other = new("fabric", fabric, "RemoteRead, RemoteWrite");
        (_, RemoteRegion healthy) = await InsertAsync(side, other);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion stopped = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        using RmaBuffer source = side.Pool.Rent(1 << 20);
        using RmaBuffer second = side.Pool.Rent(4096);
        await side.Endpoint.WriteAsync(source, stopped, cancellationToken: Token);
        for (int round = 0; round < 3; round++)
        {
            await side.Process.SuspendAsync();
            Task waiting = side.Endpoint.WriteAsync(source, stopped, cancellationToken: Token).AsTask();
            await WriteUntilServedAsync(side, healthy);
            for (int i = 0; i < 20; i++)
            {
                second.Span.Fill((byte)i);
                await side.Endpoint.WriteAsync(second, healthy, cancellationToken: Token).AsTask().WaitAsync(TestTime.Seconds(60), Token);
            }
            Assert.Equal(Convert.ToHexString(second.Span), await other.AskAsync("peek 0 0 4096"));
            bool isOrdered = fabric.StartsWith("shm", StringComparison.Ordinal) && side.Pool.Context.Traits.LibraryVersion!.Major == 1;
            // In later rounds, the others may already have a native endpoint of their own, and are served before the
            // next check. Or the stopped peer has no connection to that endpoint yet, waits for it, and delays nothing.
            if (!isOrdered)
                Assert.False(IsHindrance(side));
            else if (round == 0)
                Assert.True(SpinWait.SpinUntil(() => IsHindrance(side), TestTime.Seconds(60)), "The peer that holds up others is no hindrance.");
            side.Process.Resume();
            await waiting.WaitAsync(TestTime.Seconds(60), Token);
            await side.Endpoint.WriteAsync(source, stopped, cancellationToken: Token).AsTask().WaitAsync(TestTime.Seconds(60), Token);
        }
        Assert.True(SpinWait.SpinUntil(() => side.Pool.Context.Hindrances.Count == 0, TestTime.Seconds(60)), string.Join("; ", side.Pool.Context.Hindrances));
        healthy.Dispose();
    }

    // There are more rounds than an endpoint may have native endpoints, and fewer slots than the killed peers would keep.
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task KilledPeersHoldUpNoOtherHoweverManyTheyAre(string fabric)
    {
        await using LocalSide side = await StartAsync(fabric);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion healthy = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        using RmaBuffer source = side.Pool.Rent(4096);
        for (int round = 0; round < 10; round++)
        {
            await using PeerProcess killed = new("fabric", fabric, "RemoteRead, RemoteWrite");
            (RmaPeer peer, RemoteRegion remote) = await InsertAsync(side, killed);
            await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
            await killed.SuspendAsync();
            RmaBuffer[] sources = [.. Enumerable.Range(0, 16).Select(_ => side.Pool.Rent(4096))];
            Task[] lost = [.. sources[..8].Select(s => side.Endpoint.WriteAsync(s, remote, cancellationToken: Token).AsTask())];
            Task[] behind = [.. sources[8..].Select(s => side.Endpoint.WriteAsync(s, healthy, cancellationToken: Token).AsTask())];
            await killed.KillAsync();
            foreach (Task write in lost)
                Assert.IsAssignableFrom<RmaOperationException>(await Record.ExceptionAsync(() => write.WaitAsync(TestTime.Seconds(60), Token)));
            // In every other round, the peer is removed before it is known that it delays the others.
            if (round % 2 == 1)
                Remove();
            foreach (Task write in behind)
            {
                Exception? error = await Record.ExceptionAsync(() => write.WaitAsync(TestTime.Seconds(60), Token));
                if (error is not null)
                    Assert.Contains("held up", Assert.IsType<RmaOperationException>(error).Message, StringComparison.Ordinal);
            }
            await side.Endpoint.WriteAsync(source, healthy, cancellationToken: Token).AsTask().WaitAsync(TestTime.Seconds(60), Token);
            foreach (RmaBuffer buffer in sources)
                buffer.Dispose();
            if (round % 2 == 0)
                Remove();

            void Remove()
            {
                remote.Dispose();
                side.Endpoint.RemovePeer(peer);
            }
        }
        await side.Endpoint.DisposeAsync();
        Assert.Equal(0, side.Pool.GetStatistics().QuarantinedBuffers);
    }

    // The same with callers who make progress: several threads post and read at once while native endpoints are given up.
    [Fact]
    public async Task KilledPeersHoldUpNoOtherWhereCallersMakeProgress()
    {
        await using LocalSide side = await StartAsync(Fabric.SharedMemoryByAddress, RmaProgress.Caller);
        await side.Process.AskAsync("rent 1048576 0");
        using RemoteRegion healthy = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 1 << 20));
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        long written = 0;
        Task[] callers = [.. Enumerable.Range(0, 2).Select(_ => Task.Factory.StartNew(PostAndPoll, stop.Token, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        for (int round = 0; round < 4; round++)
        {
            await using PeerProcess killed = new("fabric", Fabric.SharedMemoryByAddress, "RemoteRead, RemoteWrite");
            (RmaPeer peer, RemoteRegion remote) = await InsertAsync(side, killed);
            using RmaBuffer source = side.Pool.Rent(4096);
            await side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask().WaitAsync(TestTime.Seconds(60), Token);
            await killed.SuspendAsync();
            Task lost = side.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask();
            await killed.KillAsync();
            Assert.IsAssignableFrom<RmaOperationException>(await Record.ExceptionAsync(() => lost.WaitAsync(TestTime.Seconds(60), Token)));
            long before = Volatile.Read(ref written);
            Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref written) > before + 20 || callers.Any(static c => c.IsCompleted), TestTime.Seconds(60)), $"round {round}: nothing is written any more");
            remote.Dispose();
            side.Endpoint.RemovePeer(peer);
        }
        await stop.CancelAsync();
        foreach (Task caller in callers)
            await caller.WaitAsync(TestTime.Seconds(60), Token);
        await side.Endpoint.DisposeAsync();
        Assert.Equal(0, side.Pool.GetStatistics().QuarantinedBuffers);

        void PostAndPoll()
        {
            using RmaBuffer source = side.Pool.Rent(64);
            RmaCompletion[] completions = new RmaCompletion[8];
            while (!stop.IsCancellationRequested)
            {
                side.Endpoint.TryPost(RmaOperation.Write(source, healthy));
                foreach (RmaCompletion completion in completions.AsSpan(0, side.Endpoint.Poll(completions)))
                {
                    if (completion.ErrorCode == 0)
                        Interlocked.Increment(ref written);
                }
            }
        }
    }

    private static bool IsHindrance(LocalSide side) =>
        side.Pool.Context.Hindrances.Any(h => h.Contains($"because of peer {side.Peer.Handle}", StringComparison.Ordinal));

    private static Task<LocalSide> StartAsync(string fabric, RmaProgress progress = RmaProgress.Endpoint) => FabricProcesses.StartAsync(fabric, configure: o =>
    {
        o.Endpoint.Progress = progress;
        o.Endpoint.OperationTimeout = Timeout;
        o.Endpoint.MaxOutstanding = Outstanding;
    });

    private static async Task<(RmaPeer Peer, RemoteRegion Region)> InsertAsync(LocalSide side, PeerProcess process)
    {
        RmaPeer peer = side.Endpoint.InsertPeer(Convert.FromBase64String(await process.AskAsync("address")));
        await process.AskAsync("rent 1048576 0");
        return (peer, side.Endpoint.Import(peer, RemoteMemory.Read(Convert.FromBase64String(await process.AskAsync("expose 0 0 1048576 RemoteRead,RemoteWrite")))));
    }

    /// <summary>
    /// Writes until a write succeeds. Writes that were posted before it is known that the other peer does not answer
    /// queue up behind it, and say so when they time out.
    /// </summary>
    private static async Task WriteUntilServedAsync(LocalSide side, RemoteRegion healthy)
    {
        for (int i = 0; i < 20; i++)
        {
            using RmaBuffer source = side.Pool.Rent(4096);
            try
            {
                await side.Endpoint.WriteAsync(source, healthy, TestTime.Seconds(2), Token);
                return;
            }
            catch (RmaTimeoutException e)
            {
                Assert.Contains("held up behind an operation to peer", e.Message, StringComparison.Ordinal);
            }
        }
        throw new InvalidOperationException("A healthy peer is not served while another one is stopped.");
    }
}
