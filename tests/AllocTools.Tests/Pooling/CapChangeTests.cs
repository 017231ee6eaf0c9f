using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests changes of the cap while the pool is in use.</summary>
public sealed class CapChangeTests
{
    private const int Block = 64 << 10;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WhatIsIdleOverALowerCapIsGivenBackAtOnce()
    {
        await using TestPool test = Filled(out RmaBuffer[] buffers);
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
        test.Pool.Rent(8 << 20).Dispose();
        test.Pool.SetLimit(2 << 20);
        Assert.InRange(test.Statistics.RegisteredBytes, 0, 2 << 20);
        AssertWarm(test);
    }

    [Fact]
    public async Task WhatIsOutOverALowerCapIsGivenBackAsItComesIn()
    {
        await using TestPool test = Filled(out RmaBuffer[] buffers);
        foreach (RmaBuffer buffer in buffers)
            buffer.Span.Fill(9);
        long before = test.Statistics.RegisteredBytes;
        test.Pool.SetLimit(1 << 20);
        Assert.Equal(1 << 20, test.Statistics.LimitBytes);
        Assert.Equal(before, test.Statistics.RegisteredBytes);
        // Nothing more is registered, and rented buffers stay valid.
        Assert.False(test.Pool.TryRent(1 << 20, out _));
        Assert.Equal(before, test.Statistics.RegisteredBytes);
        foreach (RmaBuffer buffer in buffers)
        {
            Assert.False(buffer.Span.ContainsAnyExcept((byte)9));
            buffer.Dispose();
        }
        Assert.InRange(test.Statistics.RegisteredBytes, 0, 1 << 20);
        AssertWarm(test);
    }

    [Fact]
    public async Task AHigherCapServesWhoWaits()
    {
        await using TestPool test = Filled(out RmaBuffer[] buffers);
        test.Pool.SetLimit(test.Statistics.RegisteredBytes);
        ValueTask<RmaBuffer> waiting = test.Pool.RentAsync(2 << 20, Token);
        Assert.False(waiting.IsCompleted);
        test.Pool.SetLimit(64 << 20);
        (await waiting.AsTask().WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
        AssertWarm(test);
    }

    [Fact]
    public async Task WhoWaitsForMoreThanALowerCapIsToldAtOnce()
    {
        await using TestPool test = Filled(out RmaBuffer[] buffers);
        test.Pool.SetLimit(test.Statistics.RegisteredBytes);
        ValueTask<RmaBuffer> waiting = test.Pool.RentAsync(4 << 20, Token);
        test.Pool.SetLimit(2 << 20);
        RmaPoolExhaustedException e = await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => waiting.AsTask().WaitAsync(TimeSpan.FromSeconds(30), Token));
        Assert.Contains("4 MiB (4,194,304 bytes), after the cap was lowered: MaxRegisteredBytes is 2 MiB (2,097,152 bytes)", e.Message, StringComparison.Ordinal);
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
        AssertWarm(test);
    }

    [Fact]
    public async Task MagazinesKeepToTheirShareOfALowerCap()
    {
        await using var test = new TestPool(o => TestPool.Classes(1024)(o));
        RentAndReturn(test, 1024, 64);
        Assert.Equal(64 << 10, test.Pool.MagazineBytes);
        test.Pool.SetLimit(128 << 10);
        RentAndReturn(test, 1024, 64);
        Assert.InRange(test.Pool.MagazineBytes, 1, 16 << 10);
    }

    /// <summary>Returns a pool with 8 MiB of rented blocks.</summary>
    private static TestPool Filled(out RmaBuffer[] buffers)
    {
        var test = new TestPool(o => TestPool.Classes(Block)(o));
        buffers = [.. Enumerable.Range(0, 128).Select(_ => test.Pool.Rent(Block))];
        return test;
    }

    /// <summary>Asserts that nothing is rented, and that returns go into magazines again.</summary>
    private static void AssertWarm(TestPool test)
    {
        Assert.Equal(0, test.Statistics.RentedBuffers);
        RentAndReturn(test, Block, 1);
        Assert.NotEqual(0, test.Pool.MagazineBytes);
    }

    private static void RentAndReturn(TestPool test, int length, int count)
    {
        RmaBuffer[] buffers = [.. Enumerable.Range(0, count).Select(_ => test.Pool.Rent(length))];
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
    }
}
