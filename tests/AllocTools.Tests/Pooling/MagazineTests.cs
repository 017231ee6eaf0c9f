using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

public sealed class MagazineTests
{
    private const int Block = 64 << 10;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task BlocksInASleepingThreadsMagazineAreTakenBeforeARentIsRefused()
    {
        await using TestPool test = OneSlab();
        using WorkerThread sleeper = new();
        sleeper.Run(() => RentAndReturnAll(test, 8));
        // The slab's blocks outside its magazine are taken, so the next ones must come out of the magazine.
        RmaBuffer[] buffers = [.. Enumerable.Range(0, 8).Select(_ => test.Pool.Rent(Block))];
        Assert.Equal(8 * Block, test.Statistics.RegisteredBytes);
        Assert.False(test.Pool.TryRent(Block, out _));
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
        // The blocks now go back to the thread that slept.
        sleeper.Run(() => RentAndReturnAll(test, 8));
        AssertBooks(test);
    }

    [Fact]
    public async Task ABlockInAnothersMagazineReachesAWaiter()
    {
        await using TestPool test = OneSlab();
        using WorkerThread other = new();
        RmaBuffer[] buffers = [.. Enumerable.Range(0, 8).Select(_ => test.Pool.Rent(Block))];
        ValueTask<RmaBuffer> waiting = test.Pool.RentAsync(Block, Token);
        Assert.False(waiting.IsCompleted);
        other.Run(buffers[3].Dispose);
        RmaBuffer served = await waiting.AsTask().WaitAsync(TimeSpan.FromSeconds(30), Token);
        served.Dispose();
        foreach (RmaBuffer buffer in buffers.Where(b => b.IsRented))
            buffer.Dispose();
        AssertBooks(test);
    }

    [Fact]
    public async Task NoWakeUpIsLostBetweenReturnsIntoMagazinesAndWaiters()
    {
        await using var test = new TestPool(o =>
        {
            TestPool.Classes(Block)(o);
            o.MaxRegisteredBytes = Block;
            o.MaxSlabBytes = Block;
        });
        // One block and two threads: each return may coincide with the other thread's decision to wait.
        Task[] users = [.. Enumerable.Range(0, 2).Select(_ => Task.Run(
            async () =>
            {
                for (int i = 0; i < 5000; i++)
                    (await test.Pool.RentAsync(Block, Token)).Dispose();
            },
            Token))];
        await Task.WhenAll(users).WaitAsync(TimeSpan.FromSeconds(60), Token);
        Assert.Equal(1, test.Statistics.SizeClasses[0].TotalBuffers);
        AssertBooks(test);
    }

    [Theory]
    [InlineData(1024, 8)]
    [InlineData(Block, 8)]
    [InlineData(256 << 10, 4)]
    public async Task AClassDoesNotGrowWhileABlockIsIdle(int size, int blocks)
    {
        await using var test = new TestPool(o => o.SizeClasses.Add(new SizeClassOptions { BlockSize = size, InitialBlocks = blocks }));
        await test.Pool.WarmUpAsync(Token);
        // At most as many blocks are rented as there are, and each is returned by a thread other than the one that rented it.
        using var demand = new SemaphoreSlim(blocks);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(
            async () =>
            {
                for (int i = 0; i < 4000; i++)
                {
                    await demand.WaitAsync(Token);
                    RmaBuffer buffer = test.Pool.Rent(size);
                    ThreadPool.UnsafeQueueUserWorkItem(
                        b =>
                        {
                            b.Dispose();
                            demand.Release();
                        },
                        buffer,
                        preferLocal: false);
                }
            },
            Token)));
        for (int i = 0; i < blocks; i++)
            await demand.WaitAsync(Token);
        Assert.Equal(1, test.Statistics.Registrations);
        Assert.Equal(0, test.Statistics.SizeClasses[0].Misses);
        AssertBooks(test);
    }

    [Fact]
    public async Task AThousandShortLivedThreadsDoNotMakeThePoolGrow()
    {
        await using var test = new TestPool(o => TestPool.Classes(1024, Block)(o));
        for (int i = 0; i < 1000; i++)
        {
            var thread = new Thread(() =>
            {
                RentAndReturnAll(test, 8);
                test.Pool.Rent(1024).Dispose();
            });
            thread.Start();
            thread.Join();
        }
        // Only the first growth of each class registers.
        Assert.Equal(2, test.Statistics.Registrations);
        AssertBooks(test);
    }

    [Fact]
    public async Task ManyThreadsMagazinesStayWithinTheirShareOfTheCap()
    {
        const long Cap = 16 << 20;
        await using var test = new TestPool(o =>
        {
            TestPool.Classes(1024, 16 << 10, Block)(o);
            o.MaxRegisteredBytes = Cap;
        });
        var workers = new WorkerThread[64];
        for (int i = 0; i < workers.Length; i++)
        {
            workers[i] = new WorkerThread();
            workers[i].Run(() =>
            {
                foreach (long size in new[] { 1024, 16 << 10, Block })
                    RentAndReturnAll(test, 40, size);
            });
        }
        // All threads are alive, and have returned everything.
        Assert.Equal(0, test.Statistics.RentedBuffers);
        long idleOutsideSlabs = test.Pool.MagazineBytes;
        Assert.InRange(idleOutsideSlabs, 1, Cap / 8);
        foreach (WorkerThread worker in workers)
            worker.Dispose();
        AssertBooks(test);
    }

    [Fact]
    public async Task AfterABurstAndQuietThePoolIsBackAtItsMinimum()
    {
        var time = new FakeTimeProvider();
        await using var test = new TestPool(
            o =>
            {
                o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block, InitialBlocks = 8 });
                o.IdleRetention = TimeSpan.FromSeconds(60);
                o.TrimInterval = TimeSpan.FromSeconds(10);
            },
            time);
        await test.Pool.WarmUpAsync(Token);
        long minimum = test.Statistics.RegisteredBytes;
        RentAndReturnAll(test, 500);
        test.Pool.Rent(8 << 20).Dispose();
        long burst = test.Statistics.RegisteredBytes;
        Assert.True(burst > minimum);
        time.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal(burst, test.Statistics.RegisteredBytes);
        for (int i = 0; i < 12; i++)
            time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(minimum, test.Statistics.RegisteredBytes);
        Assert.Equal(burst - minimum, test.Statistics.TrimmedBytes);
        Assert.Equal(test.Statistics.Deregistrations, test.Statistics.Trims);
        AssertBooks(test);
    }

    [Fact]
    public async Task WhatIsInUseIsNotTrimmed()
    {
        var time = new FakeTimeProvider();
        await using var test = new TestPool(o => TestPool.Classes(Block)(o), time);
        RmaBuffer one = test.Pool.Rent(Block);
        one.Span.Fill(7);
        for (int i = 0; i < 30; i++)
            time.Advance(TimeSpan.FromSeconds(10));
        Assert.False(one.Span.ContainsAnyExcept((byte)7));
        one.Dispose();
        for (int i = 0; i < 12; i++)
            time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(0, test.Statistics.RegisteredBytes);
    }

    [Fact]
    public async Task AClosedPoolsMagazinesAreNobodysAnyMore()
    {
        RmaBuffer late;
        await using (var first = new TestPool(o => TestPool.Classes(Block)(o)))
        {
            RentAndReturnAll(first, 4);
            late = first.Pool.Rent(Block);
        }
        await using var second = new TestPool(o => TestPool.Classes(Block)(o));
        RentAndReturnAll(second, 4);
        Assert.Throws<ObjectDisposedException>(late.Return);
        AssertBooks(second);
    }

    [Fact]
    public async Task WithEmptyMagazinesARefusalPassesNoBarrierAndWaitersPassOneTogether()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 1 << 20;
            o.MaxSlabBytes = 64 << 10;
            o.SizeClassRange = new SizeClassRangeOptions { From = 256, To = 64 << 10, StepsPerDoubling = 4 };
        });
        foreach (long size in test.Statistics.SizeClasses.Select(c => c.BlockSize).Where(b => b > 0).ToArray())
            test.Pool.Rent(size).Dispose();
        List<RmaBuffer> all = [];
        while (test.Pool.TryRent(Block, out RmaBuffer buffer))
            all.Add(buffer);
        Assert.Equal(1 << 20, test.Statistics.RegisteredBytes);
        long before = test.Pool.Barriers;
        for (int i = 0; i < 100; i++)
            Assert.False(test.Pool.TryRent(1 + (i * 500), out _));
        Assert.Equal(before, test.Pool.Barriers);
        Task<RmaBuffer>[] waiting = [.. Enumerable.Range(0, 10).Select(i => test.Pool.RentAsync(1 + (i * 5000), Token).AsTask())];
        Assert.Equal(before + 1, test.Pool.Barriers);
        foreach (RmaBuffer buffer in all)
            buffer.Dispose();
        foreach (Task<RmaBuffer> next in waiting)
            (await next.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        AssertBooks(test);
    }

    private static TestPool OneSlab() => new(o =>
    {
        TestPool.Classes(Block)(o);
        o.MaxRegisteredBytes = 8 * Block;
    });

    private static void RentAndReturnAll(TestPool test, int count, long size = Block)
    {
        RmaBuffer[] buffers = [.. Enumerable.Range(0, count).Select(_ => test.Pool.Rent(size))];
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
    }

    private static void AssertBooks(TestPool test)
    {
        RmaPoolStatistics now = test.Statistics;
        Assert.Equal(0, now.RentedBuffers);
        Assert.All(now.SizeClasses, c => Assert.Equal(c.TotalBuffers, c.IdleBuffers + c.QuarantinedBuffers));
        Assert.Equal(now.RegisteredBytes, now.SizeClasses.Sum(c => c.RegisteredBytes));
        Assert.True(now.RegisteredBytes <= now.LimitBytes);
    }
}
