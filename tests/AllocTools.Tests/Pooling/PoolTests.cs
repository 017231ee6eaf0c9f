using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

public sealed class PoolTests
{
    private const long Block = 4096;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WarmUpRegistersTheInitialBlocksOnceAndRentsAreHitsThen()
    {
        await using var test = new TestPool();
        Assert.Equal(0, test.Statistics.Registrations);
        await test.Pool.WarmUpAsync(Token);
        Assert.Equal(4, test.Statistics.Registrations);
        Assert.Equal(2 << 20, test.Statistics.RegisteredBytes);
        await test.Pool.WarmUpAsync(Token);
        Assert.Equal(4, test.Statistics.Registrations);
        for (int i = 0; i < 100; i++)
            test.Pool.Rent(1000).Dispose();
        Assert.Equal(4, test.Statistics.Registrations);
        Assert.Equal(100, test.Statistics.Hits);
        Assert.Equal(0, test.Statistics.Misses);
    }

    [Fact]
    public async Task NoTwoBuffersOverlap()
    {
        await using var test = new TestPool(TestPool.Classes(64, 192, 4096, 12288));
        List<RmaBuffer> buffers = [];
        var random = new Random(1);
        for (int i = 0; i < 2000; i++)
            buffers.Add(test.Pool.Rent(random.Next(1, 20000)));
        List<(nint Start, nint End)> ranges = [.. buffers.Select(b => (b.Address, b.Address + (nint)b.Capacity)).Order()];
        for (int i = 1; i < ranges.Count; i++)
            Assert.True(ranges[i - 1].End <= ranges[i].Start);
        buffers.ForEach(b => b.Dispose());
        CheckBooks(test.Statistics);
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task ACapOfOneSlabServesItAndRefusesTheNextByName()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        using RmaBuffer only = test.Pool.Rent(Block);
        Assert.False(test.Pool.TryRent(1, out RmaBuffer none));
        Assert.Equal(default, none);
        RmaPoolExhaustedException error = Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Rent(1));
        Assert.Contains("MaxRegisteredBytes is 4096", error.Message, StringComparison.Ordinal);
        Assert.Contains("1 buffers are out", error.Message, StringComparison.Ordinal);
        Assert.Equal(Block, error.Limit);
        Assert.Equal(2, test.Statistics.Rejections);
        Assert.Equal(Block, test.Statistics.RegisteredBytes);
        Assert.Equal(1, test.Statistics.Registrations);
    }

    [Fact]
    public async Task AtTheCapIdleMemoryOfOtherClassesIsGivenBackFirst()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 2 << 20;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1 << 20 });
        });
        test.Pool.Rent(1 << 20).Dispose();
        RmaBuffer direct = test.Pool.Rent((1 << 20) - 4096 + (1 << 20));
        Assert.Equal(1, test.Statistics.Deregistrations);
        direct.Dispose();
        using RmaBuffer small = test.Pool.Rent(1 << 20);
        Assert.Equal(2, test.Statistics.Deregistrations);
        CheckBooks(test.Statistics);
    }

    [Fact]
    public async Task WithoutRoomALargerClasssIdleBlockIsTaken()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 64 << 10;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 32 << 10 });
        });
        using RmaBuffer first = test.Pool.Rent(32 << 10);
        using RmaBuffer second = test.Pool.Rent(1000);
        Assert.Equal(32 << 10, second.Capacity);
        Assert.Equal(1000, second.Length);
        CheckBooks(test.Statistics);
    }

    [Fact]
    public async Task ADirectRegionAskedForAgainIsAHit()
    {
        await using var test = new TestPool();
        test.Pool.Rent(4 << 20).Dispose();
        test.Pool.Rent((4 << 20) - 5000).Dispose();
        RmaSizeClassStatistics direct = test.Statistics.SizeClasses.Single(c => c.Name == "direct");
        Assert.Equal(1, direct.Hits);
        Assert.Equal(1, direct.Misses);
        Assert.Equal(1, test.Statistics.Registrations);
        using RmaBuffer much = test.Pool.Rent(2 << 20);
        Assert.Equal(2 << 20, much.Capacity);
    }

    [Fact]
    public async Task IdleDirectRegionsStayUnderTheirLimitTheOldestGoFirst()
    {
        await using var test = new TestPool(o => o.MaxIdleDirectBytes = 5 << 20);
        RmaBuffer old = test.Pool.Rent(2 << 20);
        RmaBuffer young = test.Pool.Rent(4 << 20);
        old.Dispose();
        young.Dispose();
        RmaSizeClassStatistics direct = test.Statistics.SizeClasses.Single(c => c.Name == "direct");
        Assert.Equal(4 << 20, direct.RegisteredBytes);
        Assert.Equal(1, direct.IdleBuffers);
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
        Assert.Contains("RentTimeout", error.Message, StringComparison.Ordinal);
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

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    public async Task ARefusedRegistrationLeaksNothingAndThePoolGoesOn(int refused)
    {
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var test = new TestPool(context, o =>
        {
            o.MaxSlabBytes = 64 << 10;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
        }, blocks: blocks);
        context.BeforeRegister = (number, length) =>
        {
            if (number == refused)
                throw CountingContext.Refusal(length);
        };
        List<RmaBuffer> buffers = [];
        int failures = 0;
        for (int i = 0; i < 6; i++)
        {
            try
            {
                buffers.Add(test.Pool.Rent(64 << 10));
            }
            catch (RmaRegistrationException e)
            {
                Assert.Equal("FI_ENOMEM", e.ErrorName);
                Assert.Equal(64 << 10, e.Length);
                failures++;
            }
        }
        Assert.Equal(1, failures);
        Assert.Equal(1, test.Statistics.RegistrationFailures);
        Assert.Equal(5, buffers.Count);
        Assert.Equal(5 * (64 << 10), test.Statistics.RegisteredBytes);
        Assert.Equal(blocks.Mapped, test.Statistics.RegisteredBytes);
        buffers.ForEach(b => b.Dispose());
        await test.DisposeAsync();
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
        Assert.True(context.WasClosed);
    }

    [Fact]
    public async Task WhereManyBlocksAreRefusedOneIsTried()
    {
        var context = new CountingContext { BeforeRegister = (_, length) => { if (length > 4096) throw CountingContext.Refusal(length); } };
        await using var test = new TestPool(context);
        using RmaBuffer buffer = test.Pool.Rent(1000);
        Assert.Equal(4096, test.Statistics.RegisteredBytes);
        Assert.Equal(1, test.Statistics.RegistrationFailures);
    }

    [Fact]
    public async Task AFailedDeregistrationKeepsTheMemoryMappedAndIsLoggedAndCounted()
    {
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var logs = new FakeLogCollector();
        using var logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(logs)));
        var test = new TestPool(context, logging: logging, blocks: blocks);
        test.Pool.Rent(1000).Dispose();
        long mapped = blocks.Mapped;
        context.FailDeregister = true;
        await test.DisposeAsync();
        Assert.Equal(mapped, blocks.Mapped);
        Assert.Equal(1, test.Statistics.DeregistrationFailures);
        Assert.False(context.WasClosed, "a parent with an open child must not be closed");
        Assert.Contains(logs.GetSnapshot(), l => l.Id.Id == 3 && l.Level == LogLevel.Error);
    }

    [Fact]
    public async Task GrowthIsSingleFlightAndItsWaitersCountAsMisses()
    {
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var context = new CountingContext();
        await using var test = new TestPool(context, TestPool.Classes(4096));
        context.BeforeRegister = (_, _) =>
        {
            entered.Set();
            go.Wait(Token);
        };
        Task<RmaBuffer> first = Task.Factory.StartNew(() => test.Pool.Rent(10), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait(Token);
        using var started = new CountdownEvent(3);
        Task<RmaBuffer>[] others = [.. Enumerable.Range(0, 3).Select(_ => Task.Factory.StartNew(
            () =>
            {
                started.Signal();
                return test.Pool.Rent(10);
            },
            Token,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default))];
        started.Wait(Token);
        go.Set();
        foreach (Task<RmaBuffer> rent in others.Prepend(first))
            (await rent).Dispose();
        Assert.Equal(1, context.Registrations);
        Assert.Equal(4, test.Statistics.Rents);
        Assert.True(test.Statistics.Misses >= 1);
    }

    [Fact]
    public async Task GrowthDoublesUpToTheLimit()
    {
        List<long> lengths = [];
        var context = new CountingContext { BeforeRegister = (_, length) => lengths.Add(length) };
        await using var test = new TestPool(context, o =>
        {
            o.MaxSlabBytes = 4 << 20;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
        });
        List<RmaBuffer> buffers = [.. Enumerable.Range(0, 200).Select(_ => test.Pool.Rent(1 << 16))];
        Assert.Equal([1 << 20, 2 << 20, 4 << 20, 4 << 20, 4 << 20], lengths);
        buffers.ForEach(b => b.Dispose());
    }

    [Fact]
    public async Task CallersMemoryIsRegisteredPinnedAndGivenBack()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        byte[] array = new byte[100];
        RmaBuffer buffer = test.Pool.Register(array.AsMemory(10, 50));
        buffer.Span.Fill(3);
        Assert.Equal(50, buffer.Length);
        Assert.Equal(3, array[10]);
        Assert.Equal(0, array[9]);
        Assert.Equal(50, test.Statistics.RegisteredBytes);
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        buffer.Span.Fill(4);
        Assert.Equal(4, array[59]);
        buffer.Dispose();
        Assert.Equal(0, test.Statistics.RegisteredBytes);
        Assert.Equal(0, context.Live);
        Assert.Throws<InvalidOperationException>(buffer.Dispose);
        Assert.Throws<ArgumentOutOfRangeException>(() => test.Pool.Register(Memory<byte>.Empty));
        Assert.Throws<ArgumentOutOfRangeException>(() => test.Pool.Register(0, 10));
    }

    [Fact]
    public async Task CallersMemoryCountsAgainstTheCap()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 12288;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 8192 });
        });
        using RmaBuffer block = test.Pool.Rent(1);
        Assert.Equal(8192, test.Statistics.RegisteredBytes);
        using RmaBuffer mine = test.Pool.Register(new byte[4096]);
        Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Register(new byte[1]));
        Assert.Equal(12288, test.Statistics.RegisteredBytes);
    }

    [Fact]
    public async Task DisposeWaitsForWhatIsOutThenGivesEverythingBack()
    {
        var context = new CountingContext();
        var blocks = new CountingAllocator();
        var test = new TestPool(context, o => o.DrainTimeout = TimeSpan.FromMinutes(5), blocks: blocks);
        RmaBuffer buffer = test.Pool.Rent(1000);
        Task disposing = test.DisposeAsync().AsTask();
        Assert.False(disposing.IsCompleted);
        Assert.Throws<ObjectDisposedException>(() => test.Pool.Rent(1));
        buffer.Dispose();
        await disposing.WaitAsync(TimeSpan.FromSeconds(30), Token);
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
        Assert.True(context.WasClosed);
        await test.DisposeAsync();
        test.Pool.Dispose();
    }

    [Fact]
    public async Task ALateReturnThrowsAndGivesItsMemoryBack()
    {
        var context = new CountingContext();
        var blocks = new CountingAllocator();
        var logs = new FakeLogCollector();
        using var logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(logs)));
        var test = new TestPool(context, logging: logging, blocks: blocks);
        RmaBuffer pooled = test.Pool.Rent(1000);
        RmaBuffer direct = test.Pool.Rent(5 << 20);
        RmaBuffer mine = test.Pool.Register(new byte[10]);
        await test.DisposeAsync();
        Assert.Contains(logs.GetSnapshot(), l => l.Id.Id == 2 && l.Message.Contains("3 buffers", StringComparison.Ordinal));
        Assert.False(context.WasClosed);
        pooled.Span.Fill(1);
        Assert.Throws<ObjectDisposedException>(pooled.Dispose);
        Assert.Throws<ObjectDisposedException>(direct.Dispose);
        Assert.Throws<ObjectDisposedException>(mine.Dispose);
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
        Assert.True(context.WasClosed);
        Assert.Throws<InvalidOperationException>(pooled.Dispose);
    }

    [Fact]
    public async Task DrainingFailsWaitersAndSaysWhetherAllIsBack()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        RmaBuffer held = test.Pool.Rent(1);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(1, Token).AsTask();
        using var deadline = new CancellationTokenSource();
        ValueTask<bool> draining = test.Pool.DrainAsync(deadline.Token);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting);
        await deadline.CancelAsync();
        Assert.False(await draining);
        held.Dispose();
        Assert.True(await test.Pool.DrainAsync(Token));
    }

    [Fact]
    public async Task DrainingDoesNotWaitForTheQuarantineWhichEndsWithTheEndpoint()
    {
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var test = new TestPool(context, o => o.DrainTimeout = TimeSpan.FromMinutes(5), blocks: blocks);
        RmaBuffer buffer = test.Pool.Rent(1000);
        RmaHold hold = buffer.Hold();
        ValueTask<bool> draining = test.Pool.DrainAsync(Token);
        Assert.False(draining.IsCompleted);
        hold.Quarantine();
        buffer.Dispose();
        Assert.True(await draining);
        await test.DisposeAsync();
        Assert.NotEqual(0, blocks.Mapped);
        Assert.False(context.WasClosed);
        hold.Release();
        Assert.Equal(0, blocks.Mapped);
        Assert.True(context.WasClosed);
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
    public async Task ClosingWhileMemoryIsRegisteredLeaksNothing()
    {
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var test = new TestPool(context, TestPool.Classes(4096), blocks: blocks);
        context.BeforeRegister = (_, _) =>
        {
            entered.Set();
            go.Wait(Token);
        };
        Task<RmaBuffer> renting = Task.Factory.StartNew(() => test.Pool.Rent(10), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait(Token);
        await test.DisposeAsync();
        go.Set();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => renting);
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
        Assert.True(context.WasClosed);
    }

    [Fact]
    public async Task ClosingWhileAWaiterIsServedLeaksNothingAndEndsNoProcess()
    {
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var test = new TestPool(
            context,
            o =>
            {
                o.MaxRegisteredBytes = 8192;
                o.MaxIdleDirectBytes = 0;
                o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
            },
            blocks: blocks);
        RmaBuffer direct = test.Pool.Rent(8192);
        context.BeforeRegister = (_, _) =>
        {
            entered.Set();
            go.Wait(Token);
        };
        Task<RmaBuffer> waiting = test.Pool.RentAsync(4096, Token).AsTask();
        direct.Dispose();
        entered.Wait(Token);
        await test.DisposeAsync();
        go.Set();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting);
        // The round that served it goes on by itself; what it took comes back.
        SpinWait.SpinUntil(() => context.WasClosed && blocks.Mapped == 0, TimeSpan.FromSeconds(30));
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
    }

    [Theory]
    [InlineData(256 << 10)]
    [InlineData(512 << 10)]
    [InlineData(1 << 20)]
    public async Task TheDefaultClassesStartUnderASmallCap(long cap)
    {
        await using var test = new TestPool(o => o.MaxRegisteredBytes = cap);
        await test.Pool.WarmUpAsync(Token);
        Assert.Equal(0, test.Statistics.Deregistrations);
        test.Pool.Rent(1000).Dispose();
        CheckBooks(test.Statistics);
    }

    [Fact]
    public async Task WithPerExposureNoSlabIsOpenToPeers()
    {
        await using var test = new TestPool(o =>
        {
            o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;
            o.Isolation = RmaIsolation.PerExposure;
        });
        using RmaBuffer buffer = test.Pool.Rent(10);
        Assert.Equal(RmaAccess.Local, buffer.Region.Access);
    }

    [Fact]
    public void InvalidOptionsAreAllNamedAtOnce()
    {
        var options = new RmaMemoryPoolOptions
        {
            MaxRegisteredBytes = 12,
            MaxSlabBytes = 1,
            RentTimeout = TimeSpan.FromDays(2),
            DrainTimeout = Timeout.InfiniteTimeSpan,
            ClearOnReturn = true,
            PoisonOnReturn = true,
            Access = (RmaAccess)64,
        };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 100, InitialBlocks = -1 });
        using IRmaContext context = new HostProvider().Open();
        OptionsValidationException error = Assert.Throws<OptionsValidationException>(() => new RmaMemoryPool<HostProvider>(context, options));
        string all = string.Join('\n', error.Failures);
        Assert.Contains("MaxRegisteredBytes is 12", all, StringComparison.Ordinal);
        Assert.Contains("MaxSlabBytes is 1;", all, StringComparison.Ordinal);
        Assert.Contains("RentTimeout is 2.00:00:00", all, StringComparison.Ordinal);
        Assert.Contains("DrainTimeout", all, StringComparison.Ordinal);
        Assert.Contains("ClearOnReturn and PoisonOnReturn", all, StringComparison.Ordinal);
        Assert.Contains("Access is 64", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:1:BlockSize is 100, after 4096", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:1:BlockSize is 100; it is a multiple of 64", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:1:InitialBlocks is -1", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:0:BlockSize is 4096, more than MaxRegisteredBytes", all, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LengthsOver4GiBAreNotCut()
    {
        // Reserved and mapped, not touched: only the books and the addresses are looked at.
        await using var test = new TestPool(o => o.MaxRegisteredBytes = 16L << 30);
        const long Length = (5L << 30) + 12345;
        RmaBuffer buffer = test.Pool.Rent(Length);
        Assert.Equal(Length, buffer.Length);
        buffer.GetSpan(Length - 1, 1)[0] = 77;
        Assert.Equal(77, buffer.GetSpan(Length - 1, 1)[0]);
        Assert.Throws<InvalidOperationException>(() => _ = buffer.Span.Length);
        Assert.Equal(Length - 10, buffer.Slice(10, Length - 10).Length);
        buffer.Dispose();
    }

    private static void CheckBooks(RmaPoolStatistics statistics)
    {
        Assert.Equal(statistics.RegisteredBytes, statistics.SizeClasses.Sum(c => c.RegisteredBytes));
        Assert.True(statistics.RegisteredBytes <= statistics.LimitBytes);
        Assert.All(statistics.SizeClasses, c => Assert.InRange(c.IdleBuffers, 0, c.TotalBuffers));
    }
}
