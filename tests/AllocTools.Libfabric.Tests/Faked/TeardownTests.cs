using System.Runtime.CompilerServices;
using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests disposal in any order: no call on a closed object, no parent closed before its children, nothing left behind.
/// </summary>
public sealed class TeardownTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static readonly FakeMode BoundAndLocal = new(FiMrMode.FI_MR_ENDPOINT | FiMrMode.FI_MR_LOCAL, 8);

    private static readonly FakeMode[] Unbound = [FakeMode.Tcp, FakeMode.Efa, FakeMode.Ucx];

    private static readonly FakeMode[] All = [.. Unbound, FakeMode.Cxi, BoundAndLocal];

    public static TheoryData<string, RmaProgress> Modes => Combine(All);

    public static TheoryData<string, RmaProgress> UnboundModes => Combine(Unbound);

    [Theory]
    [MemberData(nameof(Modes))]
    public Task InEveryOrder(string mode, RmaProgress progress) => TearDownInEveryOrderAsync(mode, All, progress, static _ => []);

    [Theory]
    [MemberData(nameof(Modes))]
    public Task InEveryOrderWithReceivesInFlight(string mode, RmaProgress progress) => TearDownInEveryOrderAsync(
        mode,
        All,
        progress,
        static side => [side.Endpoint.ReceiveAsync(side.Inbox, Timeout.InfiniteTimeSpan, Token).AsTask(), side.Endpoint.ReceiveAsync(side.Inbox, Timeout.InfiniteTimeSpan, Token).AsTask()]);

    [Theory]
    [MemberData(nameof(UnboundModes))]
    public Task InEveryOrderWithWritesInFlight(string mode, RmaProgress progress) => TearDownInEveryOrderAsync(
        mode,
        Unbound,
        progress,
        static side =>
        {
            side.World.End(FakeEnding.Held);
            return [.. Enumerable.Range(0, 3).Select(_ => side.Endpoint.WriteAsync(side.Source, side.Region, Timeout.InfiniteTimeSpan, Token).AsTask())];
        });

    // If registrations are bound to the endpoint, a write that never completes keeps everything that it might access.
    [Fact]
    public async Task WhatNeverComesBackKeepsItsPages()
    {
        var world = new FakeWorld(FakeMode.Cxi);
        Side side = new(world);
        world.End(FakeEnding.Held);
        Task write = side.Endpoint.WriteAsync(side.Source, side.Region, Timeout.InfiniteTimeSpan, Token).AsTask();
        side.Endpoint.Dispose();
        Assert.Equal(nameof(FiErrno.FI_ECANCELED), (await Assert.ThrowsAsync<RmaOperationException>(() => write)).ErrorName);
        foreach (Action dispose in side.Disposals)
            dispose();
        Assert.Equal("", world.Misuse);
        Assert.True(world.OpenRegistrations > 0);
        Assert.True(side.Blocks.Mapped >= world.RegisteredBytes);
    }

    // The transport has the memory that it was given as long as its endpoint is open, whatever was reported to callers.
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AnEndpointThatCantBeClosedKeepsWhatItHas(string mode, RmaProgress progress)
    {
        var world = new FakeWorld(FakeMode.Parse(mode), progress: progress);
        Side side = new(world);
        world.End(FakeEnding.Held);
        Task write = side.Endpoint.WriteAsync(side.Source, side.Region, Timeout.InfiniteTimeSpan, Token).AsTask();
        world.Fail("fi_close ep", FiErrno.FI_EBUSY);
        foreach (Action dispose in side.Disposals.Reverse().Prepend(side.Endpoint.Dispose))
            TryDispose(dispose);
        Assert.Equal(nameof(FiErrno.FI_ECANCELED), (await Assert.ThrowsAsync<RmaOperationException>(() => write)).ErrorName);
        Assert.Equal("", world.Misuse);
        Assert.True(world.OpenRegistrations > 0);
        Assert.True(side.Blocks.Mapped >= world.RegisteredBytes);
        Assert.Equal(1, side.Pool.GetStatistics().QuarantinedBuffers);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task FromACompletionsContinuation(string mode, RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode), progress: progress);
        Side side = new(world);
        await side.Endpoint.WriteAsync(side.Source, side.Region, cancellationToken: Token).AsTask().ContinueWith(
            done =>
            {
                Assert.True(done.IsCompletedSuccessfully);
                foreach (Action dispose in side.Disposals.Concat(side.Disposals))
                    dispose();
            },
            Token,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
        world.AssertClean();
        Assert.Equal(0, side.Blocks.Mapped);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void FromAFinalizer(string mode, RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode), progress: progress);
        CountingAllocator blocks = Abandon(world);
        for (int i = 0; i < 10 && blocks.Mapped != 0; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.Equal(0, blocks.Mapped);
        world.AssertClean();
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task FromManyThreadsAtOnceWhileOthersUseIt(string mode, RmaProgress progress)
    {
        for (int round = 0; round < 20; round++)
        {
            using var world = new FakeWorld(FakeMode.Parse(mode), progress: progress);
            Side side = new(world);
            using Barrier start = new(4);
            Task[] users =
            [
                .. Enumerable.Range(0, 2).Select(_ => Task.Factory.StartNew(() => UseAsync(side, start), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap()),
                .. Enumerable.Range(0, 2).Select(i => Task.Factory.StartNew(() => TearDown(side, i, start), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default)),
            ];
            await Task.WhenAll(users);
            foreach (Action dispose in side.Disposals)
                dispose();
            Assert.Equal(0, side.Blocks.Mapped);
        }
    }

    private static TheoryData<string, RmaProgress> Combine(params FakeMode[] modes)
    {
        TheoryData<string, RmaProgress> data = [];
        foreach (FakeMode mode in modes)
        {
            data.Add(mode.ToString(), RmaProgress.Endpoint);
            data.Add(mode.ToString(), RmaProgress.Caller);
        }
        return data;
    }

    private static async Task UseAsync(Side side, Barrier start)
    {
        start.SignalAndWait();
        try
        {
            while (true)
            {
                RmaBuffer buffer = side.Pool.Rent(64);
                Task<RmaReceiveResult>? receiving = null;
                try
                {
                    receiving = side.Endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan).AsTask();
                    await side.Endpoint.SendAsync(buffer, side.Peer);
                }
                finally
                {
                    // Wait for the receive, however it ends.
                    if (receiving is not null)
                        await receiving.ContinueWith(static _ => { }, TaskScheduler.Default);
                    buffer.Dispose();
                }
            }
        }
        catch (Exception e) when (e is ObjectDisposedException or RmaException or InvalidOperationException)
        {
            // Everything is closed: which exception is thrown depends on what was closed first.
        }
    }

    private static void TearDown(Side side, int first, Barrier start)
    {
        start.SignalAndWait();
        for (int i = 0; i < side.Disposals.Count; i++)
            TryDispose(side.Disposals[(i + (first * 3)) % side.Disposals.Count]);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static CountingAllocator Abandon(FakeWorld world)
    {
        Side side = new(world);
        _ = new Owner(side);
        return side.Blocks;
    }

    /// <summary>Runs each order in one of the modes and with one kind of progress; if everything is run, in each mode.</summary>
    private static async Task TearDownInEveryOrderAsync(string name, FakeMode[] modes, RmaProgress progress, Func<Side, Task[]> start)
    {
        FakeMode mode = FakeMode.Parse(name);
        int own = Array.IndexOf(modes, mode), half = progress == RmaProgress.Caller ? 1 : 0;
        IEnumerable<int[]> orders = Permutations.Of(Side.Parts).Where((_, i) => i % 2 == half && (TestExtent.IsFull || i / 2 % modes.Length == own));
        foreach (int[] order in orders)
        {
            using var world = new FakeWorld(mode, progress: progress);
            Side side = new(world);
            Task[] running = start(side);
            // Everything is disposed twice. The second time has no effect, except that a buffer reports that it was returned.
            foreach (int part in order)
                TryDispose(side.Disposals[part]);
            foreach (int part in order)
                TryDispose(side.Disposals[part]);
            foreach (Action dispose in side.Disposals)
                dispose();
            foreach (Task task in running)
                Assert.Equal(nameof(FiErrno.FI_ECANCELED), (await Assert.ThrowsAsync<RmaOperationException>(() => task)).ErrorName);
            Assert.DoesNotContain(side.Logs.GetSnapshot(), l => l.Level >= LogLevel.Warning);
            Assert.True(side.Blocks.Mapped == 0, $"{side.Blocks.Mapped} bytes stay mapped after {string.Join(' ', order)}");
        }
    }

    /// <summary>Disposes something; the second of two calls for one buffer throws.</summary>
    private static void TryDispose(Action dispose)
    {
        try
        {
            dispose();
        }
        catch (InvalidOperationException)
        {
        }
    }

    /// <summary>All objects of one side, which is its own peer.</summary>
    private sealed class Side
    {
        public const int Parts = 6;

        public Side(FakeWorld world)
        {
            World = world;
            Context = world.Open(loggerFactory: new LoggerFactory([new FakeLoggerProvider(Logs)]));
            Pool = new RmaMemoryPool<LibfabricProvider>(
                Context,
                new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, Isolation = RmaIsolation.PerExposure, DrainTimeout = TimeSpan.Zero },
                blocks: Blocks);
            Endpoint = Context.OpenEndpoint();
            CallersProgress.Start(world, Endpoint);
            Peer = Endpoint.InsertPeer(Endpoint.Address.Span);
            Source = Pool.Rent(64);
            Inbox = Pool.Rent(64);
            RmaBuffer target = Pool.Rent(64);
            Exposure = target.Expose(RmaAccess.RemoteWrite);
            Region = Endpoint.Import(Peer, Exposure.Remote);
            Disposals =
            [
                Context.Dispose,
                () => Pool.Dispose(),
                Endpoint.Dispose,
                Exposure.Dispose,
                Region.Dispose,
                () =>
                {
                    foreach (RmaBuffer buffer in new[] { Source, Inbox, target })
                        Return(buffer);
                },
            ];
        }

        public FakeWorld World { get; }

        public CountingAllocator Blocks { get; } = new();

        /// <summary>Gets the logs of the context and its endpoint.</summary>
        public FakeLogCollector Logs { get; } = new();

        public IRmaContext Context { get; }

        public RmaMemoryPool<LibfabricProvider> Pool { get; }

        public IRmaEndpoint Endpoint { get; }

        public RmaPeer Peer { get; }

        public RmaBuffer Source { get; }

        public RmaBuffer Inbox { get; }

        public RmaExposure Exposure { get; }

        public RemoteRegion Region { get; }

        public IReadOnlyList<Action> Disposals { get; }

        private static void Return(RmaBuffer buffer) => TryDispose(buffer.Dispose);
    }

    /// <summary>Disposes everything in its finalizer, on the finalizer thread.</summary>
    private sealed class Owner(Side side)
    {
        ~Owner()
        {
            foreach (Action dispose in side.Disposals.Concat(side.Disposals))
                dispose();
        }
    }
}
