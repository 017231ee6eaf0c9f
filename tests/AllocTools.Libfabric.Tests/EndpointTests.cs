using AllocTools.Endpoints;
using AllocTools.Libfabric.Tests.Faked;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class EndpointTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task PostedOperationsCompleteByPollingWhereTheEndpointMakesProgress(string fabric)
    {
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.MaxOutstanding = 16);
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead);
        target.Span.Fill(5);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer here = pair.Left.Pool.Rent(64);
        var completions = new RmaCompletion[16];
        int done = 0;
        for (int posted = 0; done < 500;)
        {
            if (posted < 500 && pair.Left.Endpoint.TryPost(RmaOperation.Read(here, remote)))
                posted++;
            int taken = pair.Left.Endpoint.Poll(completions);
            Assert.All(completions[..taken], c => Assert.True(c.IsSuccess));
            done += taken;
        }
        Assert.False(here.Span.ContainsAnyExcept((byte)5));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task OperationsAllocateNothingInSteadyState(string fabric)
    {
        // A write over sockets takes 20 ms if callers make progress.
        const int Rounds = 200;
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.Progress = RmaProgress.Caller);
        using RmaBuffer target = pair.Right.Pool.Rent(4096);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(4096);
        for (int i = 0; i < Rounds; i++)
            Write();
        var allocations = new ThreadAllocations();
        for (int i = 0; i < Rounds; i++)
        {
            allocations.Begin();
            Write();
            allocations.End();
        }
        allocations.AssertNone();

        void Write()
        {
            Span<RmaCompletion> completions = stackalloc RmaCompletion[8];
            ValueTask write = pair.Left.Endpoint.WriteAsync(source, remote);
            while (!write.IsCompleted)
            {
                pair.Left.Endpoint.Poll(completions);
                pair.Right.Endpoint.Poll(completions);
            }
            write.GetAwaiter().GetResult();
            Assert.True(pair.Left.Endpoint.TryPost(RmaOperation.Write(source, remote)));
            while (pair.Left.Endpoint.Poll(completions) == 0)
                pair.Right.Endpoint.Poll(completions);
        }
    }

    // The sender has one more message under way than it has slots: sometimes a message waits, sometimes it takes a slot
    // that has just become free.
    [Fact]
    public async Task MessagesKeepTheirOrderWhereSlotsRunOutNowAndThen()
    {
        const int Count = 20_000, Slots = 4, Posted = 512;
        await using var receiver = new EndpointPair.Side(Fabric.Any, null, null);
        await using var sender = new EndpointPair.Side(Fabric.Any, o => o.Endpoint.MaxOutstanding = Slots, null);
        sender.Peer = sender.Endpoint.InsertPeer(receiver.Endpoint.Address.Span);
        var sends = new Queue<(RmaBuffer Buffer, Task Task)>();
        Task receiving = ReceiveAsync();
        for (int i = 0; i < Count; i++)
        {
            RmaBuffer buffer = i > Slots ? await FirstAsync(sends) : sender.Pool.Rent(64);
            BitConverter.TryWriteBytes(buffer.Span, i);
            sends.Enqueue((buffer, sender.Endpoint.SendAsync(buffer, sender.Peer, cancellationToken: Token).AsTask()));
        }
        await receiving;
        while (sends.Count > 0)
            (await FirstAsync(sends)).Dispose();

        async Task ReceiveAsync()
        {
            var receives = new Queue<(RmaBuffer Buffer, Task Task)>();
            for (int i = -Posted; i < Count; i++)
            {
                RmaBuffer buffer = i >= 0 ? await FirstAsync(receives) : receiver.Pool.Rent(64);
                if (i >= 0)
                    Assert.Equal(i, BitConverter.ToInt32(buffer.Span));
                if (i < Count - Posted)
                    receives.Enqueue((buffer, receiver.Endpoint.ReceiveAsync(buffer, cancellationToken: Token).AsTask()));
                else
                    buffer.Dispose();
            }
        }

        static async Task<RmaBuffer> FirstAsync(Queue<(RmaBuffer Buffer, Task Task)> queue)
        {
            (RmaBuffer buffer, Task task) = queue.Dequeue();
            await task;
            return buffer;
        }
    }

    [Fact]
    public async Task OneDeadPeerDoesNotHoldUpAnother()
    {
        await using LocalSide dying = await FabricProcesses.StartAsync(Fabric.Any, configure: o => o.Endpoint.OperationTimeout = TestTime.Seconds(8));
        await dying.Process.AskAsync("rent 1048576 0");
        using RemoteRegion gone = dying.Endpoint.Import(dying.Peer, await dying.ExposedAsync(0, 0, 1 << 20));
        await using var process = new PeerProcess("fabric", Fabric.Any, "RemoteWrite");
        RmaPeer alive = dying.Endpoint.InsertPeer(Convert.FromBase64String(await process.AskAsync("address")));
        await process.AskAsync("rent 4096 0");
        using RemoteRegion there = dying.Endpoint.Import(alive, RemoteMemory.Read(Convert.FromBase64String(await process.AskAsync("expose 0 0 4096 RemoteWrite"))));
        using RmaBuffer source = dying.Pool.Rent(1 << 20);
        await dying.Endpoint.WriteAsync(source, gone, cancellationToken: Token);
        await dying.Endpoint.WriteAsync(source.Slice(0, 4096), there, cancellationToken: Token);
        await dying.Process.KillAsync();
        Task[] lost = [.. Enumerable.Range(0, 20).Select(_ => dying.Endpoint.WriteAsync(source, gone, cancellationToken: Token).AsTask())];
        var clock = System.Diagnostics.Stopwatch.StartNew();
        for (int i = 0; i < 20; i++)
            await dying.Endpoint.WriteAsync(source.Slice(0, 4096), there, cancellationToken: Token);
        Assert.True(clock.Elapsed < TestTime.Seconds(6), $"20 writes to a live peer took {clock.Elapsed}");
        foreach (Task write in lost)
            await Assert.ThrowsAnyAsync<RmaOperationException>(() => write);
    }

    [Fact]
    public async Task DisposingAContextTwiceReleasesNoOtherReference()
    {
        IRmaContext context = Fabric.Open(Fabric.Any);
        var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions());
        IRmaEndpoint endpoint = context.OpenEndpoint();
        context.Dispose();
        context.Dispose();
        await pool.DisposeAsync();
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        endpoint.RemovePeer(self);
        await endpoint.DisposeAsync();
        await endpoint.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => context.Retain());
    }

    [Fact]
    public async Task ThePoolMayGoBeforeItsEndpointAndTheContextLast()
    {
        IRmaContext context = Fabric.Open(Fabric.Any);
        var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions());
        IRmaEndpoint endpoint = context.OpenEndpoint();
        context.Dispose();
        pool.Rent(10).Dispose();
        await pool.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => pool.Rent(10));
        await endpoint.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => context.Retain());
    }

    [Fact]
    public void ARegistrationOfUnmappedMemoryIsAClearErrorWhereTheTransportLooks()
    {
        using var narrow = Fabric.Open(Fabric.Any, o => o.Access = RmaAccess.RemoteRead);
        using var pool = new RmaMemoryPool<LibfabricProvider>(narrow, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
        Assert.Contains("option Access", Assert.Throws<NotSupportedException>(() => pool.Rent(1)).Message, StringComparison.Ordinal);
        Assert.Equal(0, pool.GetStatistics().RegisteredBytes);
    }
}
