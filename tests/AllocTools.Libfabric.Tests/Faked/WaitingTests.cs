using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests that an endpoint's thread waits on its queue's descriptor if there is one, and works without it if there is
/// none.
/// </summary>
public sealed class WaitingTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public static TheoryData<int> Refusals => [FiErrno.FI_EINVAL, FiErrno.FI_ENOSYS];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public async Task AQueueIsWaitedForWhereThatIsPossible(bool hasWaitObjects, bool hasSmallTables)
    {
        using var world = new FakeWorld(FakeMode.Tcp, hasWaitObjects: hasWaitObjects, hasSmallTables: hasSmallTables);
        await using (var pair = new EndpointPair(world.Name))
            await SendAsync(pair);
        Assert.Equal(hasWaitObjects && !hasSmallTables, world.Calls.ContainsKey("fi_trywait"));
    }

    // Otherwise it would be tried again and again, as fast as the thread can.
    [Theory]
    [MemberData(nameof(Refusals))]
    public Task ARefusedWaitIsReportedOnceAndNotTriedAgain(int error) =>
        FallsBackAsync(w => w.Fail("fi_trywait", error), $"fi_trywait failed with {FiErrno.NameOf(error)}");

    [Fact]
    public Task ABrokenDescriptorIsReportedOnceAndNotWaitedOnAgain() => FallsBackAsync(w => w.BreakWaiting(), "ppoll finds an error");

    [Fact]
    public void AnUnusableQueueThatCantBeClosedIsReported()
    {
        var world = new FakeWorld(FakeMode.Tcp);
        var logs = new FakeLogCollector();
        using var logging = new LoggerFactory([new FakeLoggerProvider(logs)]);
        using (IRmaContext context = world.Open(loggerFactory: logging))
        {
            world.Fail("fi_control cq", FiErrno.FI_EINVAL);
            world.Fail("fi_close cq", FiErrno.FI_EBUSY);
            context.OpenEndpoint().Dispose();
        }
        Assert.Contains("fi_close (completion queue)", Assert.Single(logs.GetSnapshot(), l => l.Level >= LogLevel.Warning).Message, StringComparison.Ordinal);
        // The queue keeps the domain and the fabric open.
        Assert.Equal(3, world.OpenObjects);
        Assert.Equal("", world.Misuse);
    }

    [Fact]
    public void WithoutMemoryForHintsOpeningFailsByName()
    {
        FakeLibrary library = FakeLibrary.OfVersion(new Version(1, 17));
        using var world = new FakeWorld(FakeMode.Tcp, library: library);
        world.Open().Dispose();
        library.LimitEmptyInfos(0);
        RmaProviderException error = Assert.Throws<RmaProviderException>(() => world.Open());
        Assert.Contains("fi_allocinfo", error.Message, StringComparison.Ordinal);
        library.LimitEmptyInfos(-1);
        world.Open().Dispose();
    }

    private static async Task FallsBackAsync(Action<FakeWorld> spoil, string told)
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        var logs = new FakeLogCollector();
        using var logging = new LoggerFactory([new FakeLoggerProvider(logs)]);
        using IRmaContext context = world.Open(loggerFactory: logging);
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        spoil(world);
        Assert.True(SpinWait.SpinUntil(() => logs.GetSnapshot().Any(l => l.Level == LogLevel.Warning), Patience));
        long asked = world.Calls["fi_trywait"];
        long read = world.Calls["fi_cq_read"];
        Assert.True(SpinWait.SpinUntil(() => world.Calls["fi_cq_read"] > read + 10, Patience));
        Assert.Equal(asked, world.Calls["fi_trywait"]);
        Assert.Contains(told, Assert.Single(logs.GetSnapshot(), l => l.Level == LogLevel.Warning).Message, StringComparison.Ordinal);
        Assert.Null(context.Failure);
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        using RmaBuffer sent = pool.Rent(64);
        using RmaBuffer received = pool.Rent(64);
        Task<RmaReceiveResult> receiving = endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await endpoint.SendAsync(sent, endpoint.InsertPeer(endpoint.Address.Span), cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
    }

    private static async Task SendAsync(EndpointPair pair)
    {
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
    }
}
