using System.Runtime.CompilerServices;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

public sealed class LeakTests
{
    private const int Size = 1024;

    [Theory]
    [InlineData(Size)]
    [InlineData(4 << 20)]
    public async Task ALeakedBufferIsReportedWithItsOwnerAndWhereItWasRented(long size)
    {
        FakeLogCollector log = new();
        await using TestPool test = Pool(RmaLeakDetection.All, log);
        using (RmaOwner.Begin("gradients"))
            LeakOne(test, size);
        await CollectUntilAsync(test, leaks: 1);
        FakeLogRecord record = await FindAsync(log, 14);
        Assert.Contains("gradients", record.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(LeakOne), record.Message, StringComparison.Ordinal);
        Assert.Contains(InWords.Size(size), record.Message, StringComparison.Ordinal);
        // The memory may still be used through a span, so it still counts as rented.
        Assert.Equal(1, test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task ADrainSaysAtOnceForWhomItWaits()
    {
        FakeLogCollector log = new();
        await using TestPool test = Pool(RmaLeakDetection.All, log);
        List<RmaBuffer> rented = [test.Pool.Rent(Size)];
        for (int owner = 0; owner < 10; owner++)
        {
            using (RmaOwner.Begin($"part {owner}"))
            {
                for (int i = 0; i <= owner; i++)
                    rented.Add(test.Pool.Rent(Size));
            }
        }
        Task<bool> drained = test.Pool.DrainAsync(cancellationToken: TestContext.Current.CancellationToken).AsTask();
        Assert.False(drained.IsCompleted);
        Assert.Equal(
            "Pool 'test' waits for buffers that are still rented, without a limit: 56, rented by "
            + "part 9 (10), part 8 (9), part 7 (8), part 6 (7), part 5 (6), part 4 (5), part 3 (4), part 2 (3), other owners (2), an unknown owner (1; LeakDetection and RmaOwner.Begin name owners).",
            Assert.Single(log.GetSnapshot(), r => r.Id.Id == 19).Message);
        rented.ForEach(b => b.Return());
        Assert.True(await drained);
    }

    [Fact]
    public async Task OneIn128IsWatchedWhereSampled()
    {
        FakeLogCollector log = new();
        await using TestPool test = Pool(RmaLeakDetection.Sampled, log);
        for (int i = 0; i < 128 * 8; i++)
            LeakOne(test, Size);
        await CollectUntilAsync(test, leaks: 4);
        Assert.InRange(test.Statistics.Leaks, 4, 16);
    }

    [Fact]
    public async Task WhatIsReturnedIsNoLeakAlsoThroughACopyAndAnotherThread()
    {
        FakeLogCollector log = new();
        await using TestPool test = Pool(RmaLeakDetection.All, log);
        for (int i = 0; i < 100; i++)
        {
            RmaBuffer buffer = test.Pool.Rent(Size);
            RmaBuffer copy = buffer;
            Assert.Equal(buffer, copy);
            await Task.Run(copy.Dispose, TestContext.Current.CancellationToken);
            Assert.Throws<InvalidOperationException>(buffer.Dispose);
        }
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal(0, test.Statistics.Leaks);
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task ClosingThePoolSaysWhoseBuffersAreOut()
    {
        FakeLogCollector log = new();
        RmaBuffer buffer;
        await using (TestPool test = Pool(RmaLeakDetection.All, log))
        {
            using (RmaOwner.Begin("weights"))
                buffer = test.Pool.Rent(Size);
        }
        FakeLogRecord record = await FindAsync(log, 15);
        Assert.Contains("weights", record.Message, StringComparison.Ordinal);
        Assert.Throws<ObjectDisposedException>(buffer.Return);
    }

    private static TestPool Pool(RmaLeakDetection level, FakeLogCollector log) =>
        new(o => o.LeakDetection = level, logging: LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(log))));

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void LeakOne(TestPool test, long size) => test.Pool.Rent(size).Span[0] = 1;

    private static async Task CollectUntilAsync(TestPool test, int leaks)
    {
        for (int i = 0; test.Statistics.Leaks < leaks; i++)
        {
            Assert.True(i < 100, $"{test.Statistics.Leaks} leaks found, {leaks} expected");
            GC.Collect();
            GC.WaitForPendingFinalizers();
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }

    private static async Task<FakeLogRecord> FindAsync(FakeLogCollector log, int id)
    {
        for (int i = 0; ; i++)
        {
            if (log.GetSnapshot().FirstOrDefault(r => r.Id.Id == id) is { } record)
                return record;
            Assert.True(i < 1000, $"no record with event id {id}");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }
}
