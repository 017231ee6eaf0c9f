using AllocTools.Endpoints;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests that an await makes progress, and that the endpoint's thread does so for operations that are not awaited.
/// </summary>
public sealed class AwaitingTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>Longer than any test: an await ends by its own progress, or not at all.</summary>
    private static readonly TimeSpan LongestSpinTime = TimeSpan.FromSeconds(1);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    // The endpoint's thread does not return from fi_trywait, and so makes no progress turn.
    [Fact]
    public async Task AnAwaitCompletesWithoutATurnOfTheEndpointsThread()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        using IRmaContext context = world.Open(o => o.Endpoint.SpinTime = LongestSpinTime);
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        using RmaBuffer sent = pool.Rent(64);
        using RmaBuffer received = pool.Rent(64);
        RmaPeer peer = endpoint.InsertPeer(endpoint.Address.Span);
        HoldThread(world);
        Thread caller = Thread.CurrentThread;
        for (int i = 0; i < 100; i++)
        {
            ValueTask<RmaReceiveResult> receiving = endpoint.ReceiveAsync(received, cancellationToken: Token);
            await endpoint.SendAsync(sent, peer, cancellationToken: Token);
            Assert.Equal(64, (await receiving).Length);
        }
        // The method continued on the same thread: no await has suspended.
        Assert.Same(caller, Thread.CurrentThread);
        world.Release();
    }

    [Fact]
    public async Task AnOperationThatIsStartedAndNotAwaitedCompletes()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        for (int i = 0; i < 50; i++)
        {
            ValueTask<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token);
            ValueTask sending = pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token);
            // Nobody awaits either of them yet.
            Assert.True(SpinWait.SpinUntil(() => IsIdle(pair.Left) && IsIdle(pair.Right), Patience));
            await sending;
            Assert.Equal(64, (await receiving).Length);
        }
    }

    // The same holds if another operation of the endpoint is awaited all the time, which keeps the endpoint's thread
    // from making progress.
    [Fact]
    public async Task AnOperationThatIsNotAwaitedEndsInTimeWhileAnotherIsAwaited()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer late = pair.Left.Pool.Rent(64);
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        ValueTask<RmaReceiveResult> overdue = pair.Left.Endpoint.ReceiveAsync(late, TimeSpan.FromMilliseconds(20), Token);
        while (!pair.Left.Endpoint.GetStatistics().Operations.Any(o => o.Failed > 0))
        {
            ValueTask<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token);
            await pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token);
            await receiving;
        }
        await Assert.ThrowsAsync<RmaTimeoutException>(overdue.AsTask);
    }

    // All of the pool's threads await: none may keep its thread while others need it.
    [Fact]
    public async Task AwaitsOnAThreadPoolThatIsShortOfThreadsAllEnd()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name, o => o.Endpoint.SpinTime = LongestSpinTime);
        int tasks = 8 * Environment.ProcessorCount;
        using var all = new CountdownEvent(tasks);
        Task[] running = [.. Enumerable.Range(0, tasks).Select(i => Task.Run(async () =>
        {
            using RmaBuffer buffer = (i % 2 == 0 ? pair.Left : pair.Right).Pool.Rent(64);
            if (i % 2 == 0)
            {
                all.Signal();
                await pair.Left.Endpoint.ReceiveAsync(buffer, cancellationToken: Token);
            }
            else
            {
                all.Signal();
                await pair.Right.Endpoint.SendAsync(buffer, pair.Right.Peer, cancellationToken: Token);
            }
        }, Token))];
        await Task.WhenAll(running).WaitAsync(Patience, Token);
        Assert.True(all.IsSet);
    }

    // AsTask asks for the result as an await does; otherwise each call would wait for its own end before the next
    // operation is started.
    [Fact]
    public async Task AWindowOfTasksIsStartedAtOnce()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name, o => o.Endpoint.SpinTime = LongestSpinTime);
        RmaBuffer[] buffers = [.. Enumerable.Range(0, 64).Select(_ => pair.Right.Pool.Rent(64))];
        Task<RmaReceiveResult>[] receiving = await Task.Run(() => buffers.Select(b => pair.Right.Endpoint.ReceiveAsync(b, cancellationToken: Token).AsTask()).ToArray(), Token)
            .WaitAsync(Patience, Token);
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        foreach (Task<RmaReceiveResult> one in receiving)
        {
            await pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token);
            Assert.Equal(64, (await one).Length);
        }
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
    }

    private static bool IsIdle(EndpointPair.Side side) => side.Endpoint.GetStatistics().Running == 0;

    /// <summary>Returns once the endpoint's thread is in a call that does not return, outside its progress turn.</summary>
    private static void HoldThread(FakeWorld world)
    {
        long before = world.Calls.GetValueOrDefault("fi_trywait");
        world.Hold("fi_trywait");
        Assert.True(SpinWait.SpinUntil(() => world.Calls.GetValueOrDefault("fi_trywait") > before, Patience));
    }
}
