using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Tests calls that take long while the endpoint is closed, and a completion queue that can no longer be read.</summary>
public sealed class StuckCallTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ACallThatWasSlowWhileTheEndpointClosedDoesNotKeepTheProviderForLost()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        using IRmaContext context = world.Open();
        IRmaEndpoint endpoint = context.OpenEndpoint();
        world.Hold("fi_cq_read");
        Assert.True(SpinWait.SpinUntil(() => context.Failure is not null, Patience));
        Task closing = Task.Run(endpoint.Dispose, Token);
        Assert.True(SpinWait.SpinUntil(() => Record.Exception(() => endpoint.Poll([])) is ObjectDisposedException, Patience));
        world.Release();
        await closing;
        Assert.True(SpinWait.SpinUntil(() => context.Failure is null, Patience));
    }

    [Theory]
    [InlineData("fi_sendmsg", RmaProgress.Endpoint)]
    [InlineData("fi_sendmsg", RmaProgress.Caller)]
    [InlineData("fi_recv", RmaProgress.Endpoint)]
    public async Task ClosingDoesNotWaitForACallersCallThatDoesNotReturn(string call, RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Tcp, progress: progress);
        await using (var pair = new EndpointPair(world.Name))
        {
            IRmaEndpoint endpoint = pair.Left.Endpoint;
            RmaBuffer buffer = pair.Left.Pool.Rent(64);
            long before = world.Calls.GetValueOrDefault(call);
            world.Hold(call);
            Task operation = Task.Run(
                () => call == "fi_recv" ? endpoint.ReceiveAsync(buffer, cancellationToken: Token).AsTask() : endpoint.SendAsync(buffer, pair.Left.Peer, cancellationToken: Token).AsTask(), Token);
            Assert.True(SpinWait.SpinUntil(() => world.Calls.GetValueOrDefault(call) > before, Patience));
            endpoint.Dispose();
            Assert.False(operation.IsCompletedSuccessfully);
            Assert.Throws<ObjectDisposedException>(() => endpoint.InsertPeer([1]));
            world.Release();
            await Assert.ThrowsAsync<RmaOperationException>(() => operation.WaitAsync(Patience, Token));
            buffer.Dispose();
            // The rest is closed when the call has returned.
            Assert.True(SpinWait.SpinUntil(() => pair.Left.Pool.GetStatistics().QuarantinedBuffers == 0, Patience));
        }
        // The lease on the context is released last, on another thread.
        Assert.True(SpinWait.SpinUntil(() => world.OpenObjects == 0, Patience));
    }

    // The receive is cancelled before the transport has it.
    [Theory]
    [InlineData(RmaProgress.Endpoint)]
    [InlineData(RmaProgress.Caller)]
    public async Task AReceiveThatTimesOutWhileItIsPostedSwallowsNoLaterMessage(RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Tcp, progress: progress);
        using IRmaContext context = world.Open();
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        CallersProgress.Start(world, endpoint);
        RmaBuffer late = pool.Rent(64);
        world.Hold("fi_recv");
        Task<RmaReceiveResult> posting = Task.Run(() => endpoint.ReceiveAsync(late, TimeSpan.FromMilliseconds(20), Token).AsTask(), Token);
        // Wait until the operation is over for the endpoint, too, including its grace period.
        Assert.True(SpinWait.SpinUntil(() => endpoint.GetStatistics().Operations.Any(o => o.Failed > 0), Patience));
        world.Release();
        await Assert.ThrowsAsync<RmaTimeoutException>(() => posting);
        late.Dispose();
        Assert.True(SpinWait.SpinUntil(() => pool.GetStatistics().QuarantinedBuffers == 0, Patience));
        using RmaBuffer sent = pool.Rent(64);
        using RmaBuffer received = pool.Rent(64);
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await endpoint.SendAsync(sent, endpoint.InsertPeer(endpoint.Address.Span), cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
    }

    // In the first case, the endpoint's thread is stuck. In the others, it is the calls that close the endpoint; a bound endpoint
    // takes its operations back first.
    [Theory]
    [InlineData("fi_cq_read", "8", RmaProgress.Endpoint)]
    [InlineData("fi_close ep", "8", RmaProgress.Endpoint)]
    [InlineData("fi_cq_read", "4 allocated endpoint", RmaProgress.Caller)]
    public async Task ClosingEndsThoughACallOfTheEndpointsOwnDoesNotReturn(string call, string mode, RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode), progress: progress);
        using (IRmaContext context = world.Open())
        {
            await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
            IRmaEndpoint endpoint = context.OpenEndpoint();
            RmaBuffer buffer = pool.Rent(64);
            Task receiving = endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, Token).AsTask();
            world.Hold(call);
            if (call == "fi_cq_read" && progress == RmaProgress.Endpoint)
                Assert.True(SpinWait.SpinUntil(() => context.Failure is not null, Patience));
            Task closing = Task.Run(endpoint.Dispose, Token);
            // A caller who awaits an operation does not wait for that call.
            await Assert.ThrowsAsync<RmaOperationException>(() => receiving.WaitAsync(Patience, Token));
            await closing.WaitAsync(Patience, Token);
            buffer.Dispose();
            Assert.Equal(1, pool.GetStatistics().QuarantinedBuffers);
            world.Release();
            Assert.True(SpinWait.SpinUntil(() => pool.GetStatistics().QuarantinedBuffers == 0, Patience));
        }
        // The lease on the context is released last, on another thread.
        Assert.True(SpinWait.SpinUntil(() => world.OpenObjects == 0, Patience));
    }

    [Theory]
    [InlineData(RmaProgress.Endpoint)]
    [InlineData(RmaProgress.Caller)]
    public async Task AQueueThatCantBeReadEndsEverythingAndIsReported(RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Tcp, progress: progress);
        using IRmaContext context = world.Open();
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        await using IRmaEndpoint endpoint = context.OpenEndpoint();
        RmaBuffer buffer = pool.Rent(64);
        Task receiving = endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, Token).AsTask();
        world.Fail("fi_cq_read", FiErrno.FI_EIO);
        Assert.True(SpinWait.SpinUntil(() => endpoint.Poll([]) == 0 && receiving.IsCompleted, Patience));
        await Assert.ThrowsAsync<RmaOperationException>(() => receiving);
        Assert.Contains("fi_cq_read", context.Failure!.Message, StringComparison.Ordinal);
        Assert.Throws<RmaOperationException>(() => endpoint.TryPost(RmaOperation.Receive(buffer)));
        // The transport may still have the buffer.
        buffer.Dispose();
        Assert.Equal(1, pool.GetStatistics().QuarantinedBuffers);
        await endpoint.DisposeAsync();
        Assert.Equal(0, pool.GetStatistics().QuarantinedBuffers);
    }
}
