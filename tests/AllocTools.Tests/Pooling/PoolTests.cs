using Xunit;

namespace AllocTools.Tests.Pooling;

public sealed class PoolTests
{
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
        test.CheckBooks();
        Assert.Equal(0, test.Statistics.RentedBuffers);
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
    public async Task WhoWaitsForAGrowthThatRegistersNothingAndFindsAnIdleBlockCountsAsAHit()
    {
        const int Block = 64 << 10;
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var context = new CountingContext();
        // With a cap this low, magazines have no room: returned blocks are available to all threads.
        await using var test = new TestPool(context, o =>
        {
            o.MaxSlabBytes = Block;
            o.MaxRegisteredBytes = 4 * Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        RmaBuffer only = test.Pool.Rent(Block);
        context.BeforeRegister = (_, length) =>
        {
            entered.Set();
            go.Wait(Token);
            throw CountingContext.Refusal(length);
        };
        Task refused = Task.Factory.StartNew(() => test.Pool.Rent(Block), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait(Token);
        var waiting = new Thread(() => test.Pool.Rent(Block).Dispose());
        waiting.Start();
        Assert.True(SpinWait.SpinUntil(() => waiting.ThreadState.HasFlag(ThreadState.WaitSleepJoin), TimeSpan.FromSeconds(30)));
        only.Dispose();
        go.Set();
        await Assert.ThrowsAsync<RmaRegistrationException>(() => refused);
        waiting.Join();
        Assert.Equal((1, 1), (test.Statistics.Hits, test.Statistics.Misses));
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
        test.CheckBooks();
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
    public async Task ItsStatisticsCanBeReadInALine()
    {
        await using var test = new TestPool(TestPool.Classes(4096, 1 << 20));
        using RmaBuffer buffer = test.Pool.Rent(1 << 20);
        RmaSizeClassStatistics big = test.Statistics.SizeClasses[1];
        string line = test.Statistics.ToString();
        Assert.StartsWith(FormattableString.Invariant($"{big.RegisteredBytes:N0} of 1,073,741,824 bytes registered, 1 buffer rented, 0 quarantined"), line, StringComparison.Ordinal);
        Assert.Contains("0 hits, 1 miss, 0 rejections; 1 registration, 0 refused", line, StringComparison.Ordinal);
        Assert.Contains(FormattableString.Invariant($"1048576: {big.IdleBuffers} of {big.TotalBuffers} idle, direct: "), line, StringComparison.Ordinal);
    }
}
