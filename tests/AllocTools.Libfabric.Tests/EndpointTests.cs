using AllocTools.Libfabric.Tests.Faked;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class EndpointTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task PostedOperationsCompleteByPollingWhereTheCallerMakesProgress(string fabric)
    {
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.Progress = RmaProgress.Caller);
        const int Count = 100;
        using RmaBuffer target = pair.Right.Pool.Rent(Count * 64);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        source.Span.Fill(8);
        using RmaBuffer message = pair.Right.Pool.Rent(64);
        var completions = new RmaCompletion[7];
        HashSet<ulong> seen = [];
        Assert.True(pair.Right.Endpoint.TryPost(RmaOperation.Receive(message, context: 4711)));
        for (int posted = 0; seen.Count < Count;)
        {
            if (posted < Count && pair.Left.Endpoint.TryPost(RmaOperation.Write(source, remote.Slice(posted * 64, 64), (ulong)posted)))
                posted++;
            int taken = pair.Left.Endpoint.Poll(completions);
            for (int i = 0; i < taken; i++)
            {
                Assert.True(completions[i].IsSuccess);
                Assert.Equal(RmaOperationKind.Write, completions[i].Kind);
                Assert.Equal(64, completions[i].Length);
                Assert.True(seen.Add(completions[i].Context), "completed twice");
            }
            Assert.Equal(0, pair.Right.Endpoint.Poll(completions));
        }
        Assert.False(target.Span.ContainsAnyExcept((byte)8));

        Assert.True(pair.Left.Endpoint.TryPost(RmaOperation.Send(source, pair.Left.Peer, context: 12)));
        int sent = 0;
        int received = 0;
        while (sent == 0 || received == 0)
        {
            sent += pair.Left.Endpoint.Poll(completions.AsSpan(sent, 1 - sent));
            received += pair.Right.Endpoint.Poll(completions.AsSpan(3 + received, 1 - received));
        }
        Assert.Equal(new RmaCompletion(12, RmaOperationKind.Send, 64, 0), completions[0]);
        Assert.Equal(new RmaCompletion(4711, RmaOperationKind.Receive, 64, 0) { Sender = pair.Right.Peer.Handle }, completions[3]);
        Assert.Contains(
            "Write: 100 done, 6,400 bytes, 0 failed; Read: 0 done, 0 bytes, 0 failed; Send: 1 done, 64 bytes, 0 failed; Receive: 0 done, 0 bytes, 0 failed",
            pair.Left.Endpoint.GetStatistics().ToString(),
            StringComparison.Ordinal);
    }

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
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.Progress = RmaProgress.Caller);
        using RmaBuffer target = pair.Right.Pool.Rent(4096);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(4096);
        for (int i = 0; i < 500; i++)
            Write();
        long allocated = 0;
        int measured = 0;
        for (int i = 0; i < 500; i++)
        {
            int collections = GC.CollectionCount(0);
            long before = GC.GetAllocatedBytesForCurrentThread();
            Write();
            long after = GC.GetAllocatedBytesForCurrentThread();
            // A collection, of other tests' garbage, counts what is left of this thread's allocation buffer as allocated.
            if (GC.CollectionCount(0) != collections)
                continue;
            allocated += after - before;
            measured++;
        }
        Assert.Equal(0, allocated);
        Assert.NotEqual(0, measured);

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

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ABufferInFlightIsNotReturned(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        RmaBuffer buffer = pair.Left.Pool.Rent(64);
        using var cancel = new CancellationTokenSource();
        Task<RmaReceiveResult> receiving = pair.Left.Endpoint.ReceiveAsync(buffer, cancellationToken: cancel.Token).AsTask();
        Assert.Contains("hold", Assert.Throws<InvalidOperationException>(buffer.Return).Message, StringComparison.Ordinal);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receiving);
        buffer.Dispose();
        Assert.Equal(0, pair.Left.Pool.GetStatistics().RentedBuffers);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AReceiveThatTimedOutSwallowsNoLaterMessage(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        RmaBuffer buffer = pair.Right.Pool.Rent(64);
        // On a busy machine posting it may take long: net has one lock, and a thread of its own that makes progress.
        TimeSpan timeout = TimeSpan.FromMilliseconds(FakeWorld.Find(fabric) is null ? 200 : 20);
        for (int i = 0; i < 3; i++)
        {
            RmaTimeoutException error = await Assert.ThrowsAsync<RmaTimeoutException>(
                () => pair.Right.Endpoint.ReceiveAsync(buffer, timeout, Token).AsTask());
            Assert.Equal("FI_ETIMEDOUT", error.ErrorName);
            Assert.Contains("no message has come for it", error.Message, StringComparison.Ordinal);
            Assert.Contains("its buffer is free", error.Message, StringComparison.Ordinal);
        }
        using RmaBuffer message = pair.Left.Pool.Rent(64);
        for (int i = 1; i <= 5; i++)
        {
            Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(buffer, cancellationToken: Token).AsTask();
            message.Span[0] = (byte)i;
            await pair.Left.Endpoint.SendAsync(message.Slice(0, i), pair.Left.Peer, cancellationToken: Token);
            Assert.Equal(i, (await receiving).Length);
            Assert.Equal(i, buffer.Span[0]);
        }
        buffer.Dispose();
        Assert.Equal(0, pair.Right.Pool.GetStatistics().QuarantinedBuffers + pair.Right.Pool.GetStatistics().RentedBuffers);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ARemovedPeerIsRefusedByName(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer buffer = pair.Left.Pool.Rent(64);
        await pair.Left.Endpoint.WriteAsync(buffer, remote, cancellationToken: Token);
        pair.Left.Endpoint.RemovePeer(pair.Left.Peer);
        Assert.Throws<ArgumentException>(() => { _ = pair.Left.Endpoint.WriteAsync(buffer, remote, cancellationToken: Token).AsTask(); });
        Assert.Throws<ArgumentException>(() => { _ = pair.Left.Endpoint.SendAsync(buffer, pair.Left.Peer, cancellationToken: Token).AsTask(); });
        Assert.Throws<ArgumentException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Send(buffer, pair.Left.Peer)));
        Assert.Throws<ArgumentException>(() => pair.Left.Endpoint.RemovePeer(pair.Left.Peer));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task BuffersThatAreDisposedUnderTheirOperationsComeBackAfterThem(string fabric)
    {
        // More than there are slots: some wait for theirs when their buffers are disposed.
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.MaxOutstanding = 4);
        const int Count = 16;
        Task<RmaReceiveResult>[] receives = [.. Enumerable.Range(0, Count).Select(_ => DisposeUnder(pair.Right.Pool, b => pair.Right.Endpoint.ReceiveAsync(b, cancellationToken: Token).AsTask()))];
        Assert.Equal((Count, 0), (pair.Right.Pool.GetStatistics().QuarantinedBuffers, pair.Right.Pool.GetStatistics().RentedBuffers));
        Task[] sends = [.. Enumerable.Range(0, Count).Select(_ => DisposeUnder(pair.Left.Pool, b => pair.Left.Endpoint.SendAsync(b, pair.Left.Peer, cancellationToken: Token).AsTask()))];
        await Task.WhenAll(sends);
        Assert.All(await Task.WhenAll(receives), message => Assert.Equal(64, message.Length));
        foreach (RmaMemoryPool<LibfabricProvider> pool in new[] { pair.Left.Pool, pair.Right.Pool })
            Assert.Equal((0, 0), (pool.GetStatistics().QuarantinedBuffers, pool.GetStatistics().RentedBuffers));
        Assert.Equal(Count, pair.Right.Pool.GetStatistics().DeferredReturns);

        static TTask DisposeUnder<TTask>(RmaMemoryPool<LibfabricProvider> pool, Func<RmaBuffer, TTask> start)
        {
            using RmaBuffer buffer = pool.Rent(64);
            return start(buffer);
        }
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task MessagesKeepTheirOrderWhereSlotsRunOut(string fabric)
    {
        await using var pair = new EndpointPair(fabric, o => o.Endpoint.MaxOutstanding = 4);
        const int Count = 500;
        RmaBuffer[] sent = [.. Enumerable.Range(0, Count).Select(_ => pair.Left.Pool.Rent(64))];
        RmaBuffer[] received = [.. Enumerable.Range(0, Count).Select(_ => pair.Right.Pool.Rent(64))];
        Task<RmaReceiveResult>[] receives = [.. received.Select(b => pair.Right.Endpoint.ReceiveAsync(b, cancellationToken: Token).AsTask())];
        // What waits for its turn is held, too.
        Assert.Throws<InvalidOperationException>(received[^1].Return);
        Task[] sends = [.. sent.Select((b, i) =>
        {
            BitConverter.TryWriteBytes(b.Span, i);
            return pair.Left.Endpoint.SendAsync(b, pair.Left.Peer, cancellationToken: Token).AsTask();
        })];
        await Task.WhenAll(sends);
        await Task.WhenAll(receives);
        for (int i = 0; i < Count; i++)
        {
            Assert.Equal(i, BitConverter.ToInt32(received[i].Span));
            sent[i].Dispose();
            received[i].Dispose();
        }
    }

    // The sender has one message more under way than it has slots: now one waits, now one takes a slot that has just come free.
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
    public async Task ATaskThatIsNotDoneOrIsAwaitedTwiceDoesNoHarm()
    {
        await using var pair = new EndpointPair(Fabric.Any);
        using RmaBuffer buffer = pair.Right.Pool.Rent(64);
        ValueTask<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(buffer, cancellationToken: Token);
        Assert.Throws<InvalidOperationException>(() => receiving.GetAwaiter().GetResult());
        Assert.Throws<InvalidOperationException>(() => receiving.GetAwaiter().GetResult());
        using RmaBuffer other = pair.Right.Pool.Rent(64);
        Task<RmaReceiveResult> second = pair.Right.Endpoint.ReceiveAsync(other, cancellationToken: Token).AsTask();
        using RmaBuffer message = pair.Left.Pool.Rent(64);
        await pair.Left.Endpoint.SendAsync(message.Slice(0, 7), pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(7, (await receiving).Length);
        Assert.False(second.IsCompleted);
        Assert.Throws<InvalidOperationException>(() => receiving.GetAwaiter().GetResult());
        await pair.Left.Endpoint.SendAsync(message.Slice(0, 8), pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(8, (await second).Length);
    }

    [Fact]
    public async Task OneDeadPeerDoesNotHoldUpAnother()
    {
        await using LocalSide dying = await LocalSide.StartAsync(Fabric.Any, configure: o => o.Endpoint.OperationTimeout = TestTime.Seconds(8));
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
    public async Task ATimeOutThatCantBeKeptIsRefused()
    {
        await using var pair = new EndpointPair(Fabric.Any);
        using RmaBuffer buffer = pair.Left.Pool.Rent(64);
        foreach (TimeSpan timeout in new[] { TimeSpan.MaxValue, TimeSpan.FromSeconds(-1), TimeSpan.FromDays(2) })
            Assert.Throws<ArgumentOutOfRangeException>(() => { _ = pair.Left.Endpoint.ReceiveAsync(buffer, timeout, Token).AsTask(); });
    }

    [Fact]
    public async Task DisposingAContextTwiceReleasesNobodyElses()
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

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ClosingTheEndpointEndsWhatIsOutstanding(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        RmaBuffer[] buffers = [.. Enumerable.Range(0, 10).Select(_ => pair.Left.Pool.Rent(64))];
        Task<RmaReceiveResult>[] receives = [.. buffers.Select(b => pair.Left.Endpoint.ReceiveAsync(b, Timeout.InfiniteTimeSpan, Token).AsTask())];
        pair.Left.Endpoint.Dispose();
        foreach (Task<RmaReceiveResult> receive in receives)
            Assert.Equal("FI_ECANCELED", (await Assert.ThrowsAsync<RmaOperationException>(() => receive)).ErrorName);
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
        Assert.Equal(0, pair.Left.Pool.GetStatistics().RentedBuffers + pair.Left.Pool.GetStatistics().QuarantinedBuffers);
        pair.Left.Endpoint.Dispose();
        using RmaBuffer late = pair.Left.Pool.Rent(64);
        Assert.Throws<ObjectDisposedException>(() => { _ = pair.Left.Endpoint.ReceiveAsync(late, cancellationToken: Token).AsTask(); });
        Assert.Throws<ObjectDisposedException>(() => pair.Left.Endpoint.Poll([]));
    }

    [Fact]
    public async Task WhatNeedsMoreSlotsThanThereAreWaitsItsTurn()
    {
        await using var pair = new EndpointPair(Fabric.Any, o => o.Endpoint.MaxOutstanding = 2);
        RmaBuffer[] buffers = [.. Enumerable.Range(0, 5).Select(_ => pair.Right.Pool.Rent(64))];
        Task<RmaReceiveResult>[] receives = [.. buffers.Select(b => pair.Right.Endpoint.ReceiveAsync(b, cancellationToken: Token).AsTask())];
        Assert.False(pair.Right.Endpoint.TryPost(RmaOperation.Receive(buffers[0])));
        using RmaBuffer message = pair.Left.Pool.Rent(64);
        for (int i = 0; i < 5; i++)
        {
            message.Span[0] = (byte)i;
            await pair.Left.Endpoint.SendAsync(message.Slice(0, 1), pair.Left.Peer, cancellationToken: Token);
        }
        await Task.WhenAll(receives);
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(i, buffers[i].Span[0]);
            buffers[i].Dispose();
        }
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task TwoEndpointsOfOneContextReachEachOther(string fabric)
    {
        using IRmaContext context = FakeWorld.Find(fabric)?.Open() ?? Fabric.Open(fabric);
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions());
        using IRmaEndpoint first = context.OpenEndpoint();
        using IRmaEndpoint second = context.OpenEndpoint();
        using RmaBuffer message = pool.Rent(10);
        using RmaBuffer received = pool.Rent(10);
        message.Span.Fill(6);
        RmaPeer peer = first.InsertPeer(second.Address.Span);
        Task<RmaReceiveResult> receiving = second.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await first.SendAsync(message, peer, cancellationToken: Token);
        Assert.Equal(10, (await receiving).Length);
        Assert.False(received.Span.ContainsAnyExcept((byte)6));
    }

    [Fact]
    public async Task MisuseIsRefusedByName()
    {
        await using var pair = new EndpointPair(Fabric.Any);
        using RmaBuffer own = pair.Left.Pool.Rent(100);
        using RmaBuffer others = pair.Right.Pool.Rent(100);
        using RmaExposure exposure = others.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        Assert.Contains("another context", Assert.Throws<ArgumentException>(() => { _ = pair.Left.Endpoint.WriteAsync(others, remote, cancellationToken: Token).AsTask(); }).Message, StringComparison.Ordinal);
        Assert.Contains("not inserted", Assert.Throws<ArgumentException>(() => { _ = pair.Right.Endpoint.WriteAsync(others, remote, cancellationToken: Token).AsTask(); }).Message, StringComparison.Ordinal);
        Assert.Contains("A write of 100 bytes exceeds the 50 bytes of the peer's memory.", Assert.Throws<ArgumentException>(() => { _ = pair.Left.Endpoint.WriteAsync(own, remote.Slice(0, 50), cancellationToken: Token).AsTask(); }).Message, StringComparison.Ordinal);
        Assert.Contains("default", Assert.Throws<ArgumentException>(() => { _ = pair.Left.Endpoint.WriteAsync(own, default, cancellationToken: Token).AsTask(); }).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => remote.Slice(51, 50));
        RmaProviderException peer = Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.InsertPeer([]));
        Assert.Contains("0 bytes", peer.Message, StringComparison.Ordinal);
        var raw = new RemoteMemory(0, 10, new byte[20], 0, RmaAccess.RemoteWrite);
        Assert.Throws<RmaProviderException>(() => pair.Left.Endpoint.Import(pair.Left.Peer, raw));
        Assert.Contains("grants None", Assert.Throws<ArgumentException>(() => pair.Left.Endpoint.Import(pair.Left.Peer, default)).Message, StringComparison.Ordinal);
        RmaBuffer gone = pair.Left.Pool.Rent(10);
        gone.Dispose();
        Assert.Throws<InvalidOperationException>(() => { _ = pair.Left.Endpoint.WriteAsync(gone, remote, cancellationToken: Token).AsTask(); });
        // Nothing of this has cost a slot or a hold.
        await pair.Left.Endpoint.WriteAsync(own.Slice(0, 50), remote, cancellationToken: Token);
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
