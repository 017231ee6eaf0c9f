using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Tests the operations that an endpoint reports in its statistics: operators see the same as metrics.</summary>
public sealed class EndpointStatisticsTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task EachOperationIsSeenWhereItIs()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        using IRmaContext context = world.Open(options => options.Endpoint.MaxOutstanding = 3);
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        using RmaBuffer buffer = pool.Rent(640);
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        Assert.Equal((RmaEndpointState.Open, 3, 0, 0), Of(endpoint));

        Task<RmaReceiveResult>[] receiving = [.. Enumerable.Range(0, 4).Select(i => endpoint.ReceiveAsync(buffer.Slice(i * 64, 64), Timeout.InfiniteTimeSpan, Token).AsTask())];
        Assert.Equal((RmaEndpointState.Open, 3, 3, 1), Of(endpoint));
        Assert.Equal((3, 0, 0), PlacesOf(endpoint));
        endpoint.Dispose();
        await Assert.ThrowsAsync<RmaOperationException>(() => Task.WhenAll(receiving));
        Assert.True(SpinWait.SpinUntil(() => Of(endpoint) == (RmaEndpointState.Closed, 3, 0, 0), Patience), endpoint.GetStatistics().ToString());
    }

    [Fact]
    public async Task AnUnclaimedResultAndAnAbandonedOperationAreCounted()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        using IRmaContext context = world.Open();
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        using RmaBuffer buffer = pool.Rent(128);
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(buffer.Slice(0, 64), cancellationToken: Token).AsTask();
        ValueTask sending = endpoint.SendAsync(buffer.Slice(64, 64), self, cancellationToken: Token);
        await receiving;
        Assert.True(SpinWait.SpinUntil(() => PlacesOf(endpoint) == (0, 0, 1), Patience), endpoint.GetStatistics().ToString());
        await sending;
        Assert.True(SpinWait.SpinUntil(() => PlacesOf(endpoint) == (0, 0, 0), Patience), endpoint.GetStatistics().ToString());

        // The endpoint's own call does not return, so no operation can be taken back.
        world.Hold("fi_cq_read");
        Assert.True(SpinWait.SpinUntil(() => endpoint.GetStatistics().State == RmaEndpointState.Stuck, Patience));
        await Assert.ThrowsAsync<RmaTimeoutException>(() => endpoint.ReceiveAsync(buffer.Slice(0, 64), TimeSpan.FromMilliseconds(20), Token).AsTask());
        Assert.True(SpinWait.SpinUntil(() => PlacesOf(endpoint) == (0, 1, 0), Patience), endpoint.GetStatistics().ToString());
        Assert.Contains("Stuck, 1 of 1,024 operations outstanding (1 abandoned", endpoint.GetStatistics().ToString(), StringComparison.Ordinal);
        world.Release();
        Assert.True(SpinWait.SpinUntil(() => endpoint.GetStatistics() is { State: RmaEndpointState.Open, Outstanding: 0 }, Patience));
    }

    [Fact]
    public void AnEndpointWhoseQueueCantBeReadHasFailed()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        using IRmaContext context = world.Open();
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        world.Fail("fi_cq_read", FiErrno.FI_EINVAL);
        Assert.True(SpinWait.SpinUntil(() => endpoint.GetStatistics().State == RmaEndpointState.Failed, Patience));
    }

    private static (RmaEndpointState State, int Limit, int Outstanding, int Pending) Of(IRmaEndpoint endpoint)
    {
        RmaEndpointStatistics now = endpoint.GetStatistics();
        return (now.State, now.Limit, now.Outstanding, now.Pending);
    }

    private static (int Running, int Abandoned, int Unclaimed) PlacesOf(IRmaEndpoint endpoint)
    {
        RmaEndpointStatistics now = endpoint.GetStatistics();
        return (now.Running, now.Abandoned, now.Unclaimed);
    }
}
