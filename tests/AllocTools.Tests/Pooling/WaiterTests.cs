using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using AllocTools.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests requests that wait at the cap.</summary>
public sealed class WaiterTests
{
    private const long Block = 4096;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ARentAtTheCapIsRefusedAtLastWhereAnotherThreadsCallIntoTheProviderHangs()
    {
        using ManualResetEventSlim entered = new();
        using ManualResetEventSlim released = new();
        var context = new CountingContext
        {
            BeforeRegister = (_, _) =>
            {
                entered.Set();
                released.Wait(Token);
            },
        };
        await using var test = new TestPool(context, o =>
        {
            TestPool.Classes(Block, 2 * Block)(o);
            o.MaxRegisteredBytes = 2 * Block;
        });
        Task<RmaBuffer> hanging = Task.Run(() => test.Pool.Rent(2 * Block), Token);
        entered.Wait(Token);
        Task<RmaPoolExhaustedException> refused = Task.Run(() => Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Rent(Block)), Token);
        Task<RmaPoolExhaustedException> notRegistered = Task.Run(() => Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Register(new byte[Block])), Token);
        foreach (Task<RmaPoolExhaustedException> error in new[] { refused, notRegistered })
            Assert.Contains(" 8 KiB (8,192 bytes) are being registered or given back.", (await error.WaitAsync(TimeSpan.FromMinutes(1), Token)).Message, StringComparison.Ordinal);
        released.Set();
        (await hanging).Dispose();
    }

    [Fact]
    public async Task RentAsyncWaitsForAReturnAndKeepsTheOrder()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        RmaBuffer held = test.Pool.Rent(Block);
        List<Task<RmaBuffer>> waiting = [.. Enumerable.Range(0, 10).Select(_ => test.Pool.RentAsync(Block, Token).AsTask())];
        Assert.Equal(10, test.Statistics.PendingRequests);
        Assert.False(test.Pool.TryRent(1, out _));
        foreach (Task<RmaBuffer> next in waiting)
        {
            Assert.False(next.IsCompleted);
            held.Dispose();
            held = await next.WaitAsync(TimeSpan.FromSeconds(30), Token);
        }
        held.Dispose();
        Assert.Equal(0, test.Statistics.PendingRequests);
        Assert.Equal(11, test.Statistics.Hits + test.Statistics.Misses);
    }

    [Fact]
    public async Task AWaitingDirectRequestIsNotStarvedBySmallOnes()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 1 << 20;
            o.MaxIdleDirectBytes = 0;
            o.MaxSlabBytes = 64 << 10;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
        });
        RmaBuffer[] small = [.. Enumerable.Range(0, 16).Select(_ => test.Pool.Rent(64 << 10))];
        Task<RmaBuffer> large = test.Pool.RentAsync(1 << 20, Token).AsTask();
        int overtakes = 0;
        small[0].Dispose();
        for (int i = 0; i < 200; i++)
        {
            if (test.Pool.TryRent(1, out RmaBuffer newcomer))
            {
                overtakes++;
                newcomer.Dispose();
            }
        }
        Assert.InRange(overtakes, 0, 64);
        Assert.False(large.IsCompleted);
        foreach (RmaBuffer buffer in small[1..])
            buffer.Dispose();
        using RmaBuffer served = await large.WaitAsync(TimeSpan.FromSeconds(30), Token);
        Assert.Equal(1 << 20, served.Length);
    }

    [Fact]
    public async Task AWaiterTimesOutByTheClockAndLeavesNoTrace()
    {
        var time = new FakeTimeProvider();
        await using var test = new TestPool(
            o =>
            {
                o.MaxRegisteredBytes = Block;
                o.RentTimeout = TimeSpan.FromSeconds(7);
                o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
            },
            time);
        RmaBuffer held = test.Pool.Rent(Block);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(Block, Token).AsTask();
        time.Advance(TimeSpan.FromSeconds(6.9));
        Assert.False(waiting.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(0.2));
        RmaPoolExhaustedException error = await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => waiting);
        Assert.EndsWith("or raise RentTimeout.", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, test.Statistics.PendingRequests);
        held.Dispose();
        test.Pool.Rent(Block).Dispose();
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task ACancelledWaiterLeavesNoTrace()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        using var cancel = new CancellationTokenSource();
        RmaBuffer held = test.Pool.Rent(Block);
        Task<RmaBuffer> first = test.Pool.RentAsync(Block, cancel.Token).AsTask();
        Task<RmaBuffer> second = test.Pool.RentAsync(Block, Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        held.Dispose();
        (await second.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        Assert.Equal(0, test.Statistics.PendingRequests);
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task NoWakeUpIsLostWithWaitersAndReturnsOnManyThreads()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 2 * Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
            o.RentTimeout = TimeSpan.FromMinutes(2);
        });
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(
            async () =>
            {
                for (int i = 0; i < 2000; i++)
                {
                    using RmaBuffer buffer = await test.Pool.RentAsync(Block, Token);
                    buffer.Span[0] = 1;
                }
            },
            Token)));
        Assert.Equal(16_000, test.Statistics.Rents);
        Assert.Equal(0, test.Statistics.RentedBuffers);
        Assert.Equal(0, test.Statistics.Rejections);
    }

    [Fact]
    public async Task ALargeWaiterLeavesTheIdleBlocksOfOtherClasses()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 2 << 20;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024, InitialBlocks = 1024 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1 << 20 });
        });
        await test.Pool.WarmUpAsync(Token);
        using RmaBuffer small = test.Pool.Rent(1);
        RmaBuffer large = test.Pool.Rent(1 << 20);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(1 << 20, Token).AsTask();
        test.Pool.Rent(1000).Dispose();
        Assert.False(test.Pool.TryRent(1 << 20, out _));
        large.Dispose();
        (await waiting).Dispose();
    }

    [Fact]
    public async Task AWaiterThatGivesUpLetsTheYoungerOnesPass()
    {
        var time = new FakeTimeProvider();
        await using var test = new TestPool(
            o =>
            {
                o.MaxRegisteredBytes = 1 << 20;
                o.MaxIdleDirectBytes = 0;
                o.MaxSlabBytes = 64 << 10;
                o.RentTimeout = TimeSpan.FromSeconds(10);
                o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
            },
            time);
        RmaBuffer[] blocks = [.. Enumerable.Range(0, 12).Select(_ => test.Pool.Rent(64 << 10))];
        Task<RmaBuffer> large = test.Pool.RentAsync(512 << 10, Token).AsTask();
        time.Advance(TimeSpan.FromSeconds(5));
        Task<RmaBuffer> younger = test.Pool.RentAsync(128 << 10, Token).AsTask();
        Assert.False(younger.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(5.1));
        await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => large);
        (await younger.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        foreach (RmaBuffer block in blocks)
            block.Dispose();
    }

    [Fact]
    public async Task TheReturningThreadHandsTheBlockOver()
    {
        await using TestPool test = OneBlock();
        using ThreadsOfWaits threads = new(test);
        using WorkerThread other = new();
        RmaBuffer held = test.Pool.Rent(Block);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(Block, Token).AsTask();
        Assert.False(waiting.IsCompleted);
        // No other thread has to do anything: the thread pool may have no thread left.
        other.Run(() =>
        {
            held.Dispose();
            Assert.True(waiting.IsCompleted);
        });
        Assert.False(Assert.Single(threads.Seen).IsThreadPoolThread);
        (await waiting).Dispose();
    }

    [Fact]
    public async Task ABlockedWaiterIsLetGoByTheReturningThread()
    {
        await using TestPool test = OneBlock();
        RmaBuffer held = test.Pool.Rent(Block);
        using var served = new ManualResetEventSlim();
        var waiter = new Thread(() =>
        {
            test.Pool.RentAsync(Block, CancellationToken.None).AsTask().GetAwaiter().GetResult().Dispose();
            served.Set();
        });
        waiter.Start();
        Assert.True(SpinWait.SpinUntil(() => test.Statistics.PendingRequests == 1, TimeSpan.FromSeconds(30)));
        held.Dispose();
        Assert.True(served.Wait(TimeSpan.FromSeconds(30), Token));
        waiter.Join();
    }

    [Fact]
    public async Task ATimeOutNeedsNoThreadOfTheThreadPool()
    {
        await using TestPool test = OneBlock(TimeSpan.FromMilliseconds(20));
        using ThreadsOfWaits threads = new(test);
        using RmaBuffer held = test.Pool.Rent(Block);
        // Two rounds: the thread that watches the time sleeps in between. On a busy machine the time may be over before
        // a request waits, in which case it doesn't count as a wait.
        for (int i = 1; threads.Seen.Count < 2; i++)
        {
            await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => test.Pool.RentAsync(Block, Token).AsTask().WaitAsync(TimeSpan.FromSeconds(30), Token));
            Assert.Equal(i, test.Statistics.RentTimeouts);
        }
        Assert.All(threads.Seen, t => Assert.False(t.IsThreadPoolThread));
        Assert.Equal(2, threads.Seen.Count);
    }

    [Fact]
    public async Task AnEarlierDeadlineIsKeptThoughALaterOneWasSetBefore()
    {
        await using TestPool test = OneBlock(TimeSpan.FromMinutes(10));
        RmaBuffer held = test.Pool.Rent(Block);
        Task<RmaBuffer> patient = test.Pool.RentAsync(Block, Token).AsTask();
        test.Pool.Reconfigure(Options(TimeSpan.FromMilliseconds(20)));
        await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => test.Pool.RentAsync(Block, Token).AsTask().WaitAsync(TimeSpan.FromSeconds(30), Token));
        Assert.False(patient.IsCompleted);
        held.Dispose();
        (await patient).Dispose();
    }

    [Fact]
    public async Task WhatIsRegisteredForAWaiterNeedsNeitherTheReturningThreadNorTheThreadPool()
    {
        ConcurrentQueue<Thread> threads = new();
        var context = new CountingContext();
        await using var test = new TestPool(context, o =>
        {
            o.MaxRegisteredBytes = 1 << 20;
            o.MaxIdleDirectBytes = 0;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        RmaBuffer held = test.Pool.Rent(1 << 20);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(600 << 10, Token).AsTask();
        context.BeforeRegister = (_, _) => threads.Enqueue(Thread.CurrentThread);
        held.Dispose();
        (await waiting.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        Thread by = Assert.Single(threads);
        Assert.False(by.IsThreadPoolThread);
        Assert.NotEqual(Thread.CurrentThread, by);
    }

    private static TestPool OneBlock(TimeSpan? timeout = null) => new(o => Set(o, timeout));

    private static RmaMemoryPoolOptions Options(TimeSpan timeout)
    {
        var options = new RmaMemoryPoolOptions();
        Set(options, timeout);
        return options;
    }

    private static void Set(RmaMemoryPoolOptions options, TimeSpan? timeout)
    {
        options.MaxRegisteredBytes = Block;
        options.RentTimeout = timeout ?? options.RentTimeout;
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
    }

    /// <summary>Records the threads that end waits: those on which the wait times are recorded.</summary>
    private sealed class ThreadsOfWaits : IDisposable
    {
        private readonly Meter _meter = new("waits");
        private readonly MeterListener _listener = new();

        public ThreadsOfWaits(TestPool test)
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter == _meter)
                    listener.EnableMeasurementEvents(instrument);
            };
            _listener.SetMeasurementEventCallback<double>((instrument, _, _, _) =>
            {
                if (instrument.Name == "wait")
                    Seen.Enqueue(Thread.CurrentThread);
            });
            _listener.Start();
            ((IMeteredPool)test.Pool).Instruments = new PoolInstruments(
                _meter.CreateHistogram<double>("registration"), _meter.CreateHistogram<double>("wait"), "test", "test", NullLogger.Instance);
        }

        public ConcurrentQueue<Thread> Seen { get; } = new();

        public void Dispose()
        {
            _listener.Dispose();
            _meter.Dispose();
        }
    }
}
