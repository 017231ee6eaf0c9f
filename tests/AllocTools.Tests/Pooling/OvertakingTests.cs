using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>
/// Tests which requests are served while an older one waits for more memory: all that take nothing it waits for, and a limited
/// number of others.
/// </summary>
public sealed class OvertakingTests
{
    private const int Small = 1024;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(64, false)]
    [InlineData(0, true)]
    [InlineData(0, false)]
    public async Task ALargeWaiterLeavesSmallRequestsWhatItCantUse(int initialBlocks, bool hasOneOut)
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 16 << 20;
            o.MaxIdleDirectBytes = 0;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Small, InitialBlocks = initialBlocks });
        });
        await test.Pool.WarmUpAsync(Token);
        RmaBuffer one = hasOneOut ? test.Pool.Rent(Small) : default;
        // The request waits for these 9 MiB: without them it can't be served, and with them it needs nothing of the small class.
        RmaBuffer held = test.Pool.Rent(9 << 20);
        Task<RmaBuffer> large = test.Pool.RentAsync(10 << 20, Token).AsTask();
        for (int i = 0; i < 300; i++)
        {
            Assert.True(test.Pool.TryRent(Small, out RmaBuffer small), $"request {i}");
            small.Dispose();
        }
        Assert.False(large.IsCompleted);
        held.Dispose();
        (await large.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        one.Dispose();
    }

    [Fact]
    public async Task WhatIsRegisteredBesideALargeWaiterLeavesItEnough()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 16 << 20;
            o.MaxIdleDirectBytes = 0;
            o.MaxSlabBytes = 1 << 20;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1 << 20 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 2 << 20 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4 << 20 });
        });
        RmaBuffer held = test.Pool.Rent(9 << 20);
        Task<RmaBuffer> large = test.Pool.RentAsync(12 << 20, Token).AsTask();
        // 4 of the 16 MiB are left: when the 9 MiB come back, there is room for both.
        RmaBuffer four = test.Pool.Rent(4 << 20);
        Assert.False(test.Pool.TryRent(2 << 20, out _));
        Assert.False(test.Pool.TryRent(1 << 20, out _));
        held.Dispose();
        (await large.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        four.Dispose();
    }

    /// <summary>The memory that is deregistered for a waiter makes room for it, not for a younger waiter of the same line.</summary>
    [Fact]
    public async Task AWaiterGetsAllTheRoomThatIsMadeForIt()
    {
        const int Page = 4096;
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 4 * Page;
            o.MaxIdleDirectBytes = 4 * Page;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 });
        });
        RmaBuffer held = test.Pool.Rent(2 * Page);
        RmaBuffer first = test.Pool.Rent(Page);
        RmaBuffer second = test.Pool.Rent(Page);
        first.Dispose();
        Task<RmaBuffer> older = test.Pool.RentAsync(2 * Page, Token).AsTask();
        Task<RmaBuffer> younger = test.Pool.RentAsync(Page, Token).AsTask();
        Assert.False(older.IsCompleted || younger.IsCompleted);
        // Both idle pages are needed for the older one.
        second.Dispose();
        RmaBuffer large = await older.WaitAsync(TimeSpan.FromSeconds(30), Token);
        Assert.False(younger.IsCompleted);
        large.Dispose();
        (await younger.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        held.Dispose();
    }

    [Fact]
    public async Task WhoTakesWhatTheOldestWaitsForPassesSoOftenAndWhoDoesNotPassesOn()
    {
        const int Block = 64 << 10;
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 1 << 20;
            o.MaxIdleDirectBytes = 0;
            o.MaxSlabBytes = Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Small, InitialBlocks = 4 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        await test.Pool.WarmUpAsync(Token);
        RmaBuffer[] blocks = [.. Enumerable.Range(0, 15).Select(_ => test.Pool.Rent(Block))];
        RmaBuffer[] initial = [.. Enumerable.Range(0, 4).Select(_ => test.Pool.Rent(Small))];
        Assert.All(initial, b => Assert.Equal(Small, b.Capacity));
        // The request needs all of the blocks' slabs.
        Task<RmaBuffer> large = test.Pool.RentAsync(15 * Block, Token).AsTask();
        blocks[0].Dispose();
        int overtakes = 0;
        while (test.Pool.TryRent(Block, out RmaBuffer newcomer))
        {
            overtakes++;
            newcomer.Dispose();
        }
        Assert.Equal(64, overtakes);
        // A younger waiter gets a block that is returned to its class, where it would be kept anyway.
        Task<RmaBuffer> younger = test.Pool.RentAsync(Small, Token).AsTask();
        Assert.False(younger.IsCompleted);
        initial[0].Dispose();
        Assert.True(younger.IsCompleted);
        (await younger).Dispose();
        for (int i = 0; i < 200; i++)
            test.Pool.Rent(Small).Dispose();
        Assert.False(large.IsCompleted);
        foreach (RmaBuffer block in blocks[1..])
            block.Dispose();
        (await large.WaitAsync(TimeSpan.FromSeconds(30), Token)).Dispose();
        foreach (RmaBuffer block in initial[1..])
            block.Dispose();
    }
}
