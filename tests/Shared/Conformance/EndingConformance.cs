using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Tests on each transport operations that are given up, buffers that are returned during them, and endpoints that are
/// closed.
/// </summary>
public abstract class EndingConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    private const int Canceled = 125;
    private const int TimedOut = 110;

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ABufferInFlightIsNotReturned(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        RmaBuffer buffer = pair.Left.Pool.Rent(64);
        using var cancel = new CancellationTokenSource();
        Task<RmaReceiveResult> receiving = pair.Left.Endpoint.ReceiveAsync(buffer, cancellationToken: cancel.Token).AsTask();
        Assert.Contains("hold", Assert.Throws<InvalidOperationException>(buffer.Return).Message, StringComparison.Ordinal);
        await cancel.CancelAsync();
        Assert.Equal(cancel.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receiving)).CancellationToken);
        buffer.Dispose();
        Assert.Equal(0, pair.Left.Pool.GetStatistics().RentedBuffers);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AReceiveThatTimedOutSwallowsNoLaterMessage(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        RmaBuffer buffer = pair.Right.Pool.Rent(64);
        // On a busy machine, posting may take long: net has a single lock, and a thread of its own that makes progress.
        TimeSpan timeout = TimeSpan.FromMilliseconds(pair.Traits.ProviderName == "fake" ? 20 : 200);
        for (int i = 0; i < 3; i++)
        {
            RmaTimeoutException error = await Assert.ThrowsAsync<RmaTimeoutException>(
                () => pair.Right.Endpoint.ReceiveAsync(buffer, timeout, Token).AsTask());
            Assert.Equal(TimedOut, error.ErrorCode);
            Assert.Contains("no message has arrived for it", error.Message, StringComparison.Ordinal);
            // The courier gives a receive up on a thread of its own, which may answer after the grace period: the buffer is held until then.
            if (pair.Traits.ProviderName != "courier")
                Assert.Contains("its buffer is free", error.Message, StringComparison.Ordinal);
            DateTime limit = DateTime.UtcNow + TestTime.Seconds(30);
            while (pair.Right.Endpoint.GetStatistics().Abandoned > 0 && DateTime.UtcNow < limit)
                await Task.Yield();
            Assert.Equal(0, pair.Right.Endpoint.GetStatistics().Abandoned);
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
        Assert.Equal(0, pair.Right.BuffersOut);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task BuffersThatAreDisposedUnderTheirOperationsComeBackAfterThem(string mode)
    {
        // There are more operations than slots, so some still wait for a slot when their buffers are disposed.
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 4);
        const int Count = 16;
        Task<RmaReceiveResult>[] receives = [.. Enumerable.Range(0, Count).Select(_ => DisposeUnder(pair.Right.Pool, b => pair.Right.Endpoint.ReceiveAsync(b, cancellationToken: Token).AsTask()))];
        Assert.Equal((Count, 0), (pair.Right.Pool.GetStatistics().QuarantinedBuffers, pair.Right.Pool.GetStatistics().RentedBuffers));
        Task[] sends = [.. Enumerable.Range(0, Count).Select(_ => DisposeUnder(pair.Left.Pool, b => pair.Left.Endpoint.SendAsync(b, pair.Left.Peer, cancellationToken: Token).AsTask()))];
        await Task.WhenAll(sends);
        Assert.All(await Task.WhenAll(receives), message => Assert.Equal(64, message.Length));
        Assert.Equal((0, 0), (pair.Left.BuffersOut, pair.Right.BuffersOut));
        Assert.Equal(Count, pair.Right.Pool.GetStatistics().DeferredReturns);

        static TTask DisposeUnder<TTask>(IRmaMemoryPool pool, Func<RmaBuffer, TTask> start)
        {
            using RmaBuffer buffer = pool.Rent(64);
            return start(buffer);
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ATaskThatIsNotDoneOrIsAwaitedTwiceDoesNoHarm(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
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

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ClosingTheEndpointEndsWhatIsOutstanding(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        RmaBuffer[] buffers = [.. Enumerable.Range(0, 10).Select(_ => pair.Left.Pool.Rent(64))];
        Task<RmaReceiveResult>[] receives = [.. buffers.Select(b => pair.Left.Endpoint.ReceiveAsync(b, Timeout.InfiniteTimeSpan, Token).AsTask())];
        await pair.Left.Endpoint.DisposeAsync();
        foreach (Task<RmaReceiveResult> receive in receives)
            Assert.Equal(Canceled, (await Assert.ThrowsAsync<RmaOperationException>(() => receive)).ErrorCode);
        foreach (RmaBuffer buffer in buffers)
            buffer.Return();
        Assert.Equal(0, pair.Left.BuffersOut);
        await pair.Left.Endpoint.DisposeAsync();
    }

    /// <summary>
    /// Closes an endpoint while callers use it. Operations started before end as cancelled through their tasks; later
    /// calls throw at once. All buffers are returned.
    /// </summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AnEndpointIsClosedWhileManyCallersUseIt(string mode)
    {
        // There are fewer slots than callers, so some callers wait for one.
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 8);
        using RmaBuffer target = pair.Right.Pool.Rent(4096);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        int done = 0;
        using SemaphoreSlim busy = new(0);
        IRmaEndpoint endpoint = pair.Left.Endpoint;
        string provider = $"provider '{pair.Traits.ProviderName}'";
        // Two callers whose operations end only when the endpoint is closed.
        Task[] left = [.. Enumerable.Range(0, 2).Select(_ => CallAsync(b => new ValueTask(endpoint.ReceiveAsync(b, Timeout.InfiniteTimeSpan, Token).AsTask())))];
        Task[] callers =
        [
            .. Enumerable.Range(0, 4).SelectMany(_ => new[]
            {
                CallAsync(b => endpoint.WriteAsync(b, remote, cancellationToken: Token)),
                CallAsync(b => pair.Traits.NotificationSize == 0
                    ? endpoint.ReadAsync(b, remote, cancellationToken: Token)
                    : endpoint.WriteAsync(b, remote, notification: 1, cancellationToken: Token)),
                CallAsync(b => endpoint.ReadAsync(b, remote, cancellationToken: Token)),
                CallAsync(b => RunBatch(b)),
            }),
        ];
        await busy.WaitAsync(Token);
        await endpoint.DisposeAsync();
        await Task.WhenAll([.. callers, .. left]).WaitAsync(TestTime.Seconds(60), Token);
        Assert.Equal(0, pair.Left.BuffersOut);

        ValueTask RunBatch(RmaBuffer buffer)
        {
            RmaBatch batch = endpoint.CreateBatch();
            for (int i = 0; i < 4; i++)
                batch.Write(buffer.Slice(i * 256, 256), remote.Slice(i * 256, 256));
            return batch.RunAsync(cancellationToken: Token);
        }

        Task CallAsync(Func<RmaBuffer, ValueTask> operation) => Task.Run(
            async () =>
            {
                while (true)
                {
                    using RmaBuffer buffer = pair.Left.Pool.Rent(1024);
                    ValueTask task;
                    try
                    {
                        task = operation(buffer);
                    }
                    catch (ObjectDisposedException e)
                    {
                        Assert.Contains(provider, e.Message, StringComparison.Ordinal);
                        return;
                    }
                    try
                    {
                        await task;
                    }
                    catch (RmaException e) when (e is RmaOperationException or RmaBatchException)
                    {
                        Assert.Equal(Canceled, e.ErrorCode);
                        Assert.Contains($"was ended by closing the endpoint on {provider}", e.Message, StringComparison.Ordinal);
                        continue;
                    }
                    if (Interlocked.Increment(ref done) == 50)
                        busy.Release();
                }
            },
            Token);
    }
}
