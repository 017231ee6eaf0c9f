using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>What is done where the cap leaves no room.</summary>
public sealed class CapTests
{
    private const long Block = 4096;

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
        test.CheckBooks();
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
        test.CheckBooks();
    }

    [Fact]
    public async Task NobodyIsRefusedWhileThereIsRoomBecauseOthersTookWhatHeRegistered()
    {
        // A slab is one block, so that whoever registers it and others want the same one.
        for (int round = 0; round < 10; round++)
        {
            await using var test = new TestPool(o =>
            {
                o.MaxRegisteredBytes = 1L << 30;
                o.MaxSlabBytes = 64 << 10;
                o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
            });
            Task[] renters = [.. Enumerable.Range(0, 8).Select(_ => Task.Factory.StartNew(
                () =>
                {
                    RmaBuffer[] own = [.. Enumerable.Range(0, 500).Select(_ => test.Pool.Rent(64 << 10))];
                    foreach (RmaBuffer buffer in own)
                        buffer.Dispose();
                },
                TestContext.Current.CancellationToken,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default))];
            await Task.WhenAll(renters);
            Assert.Equal(0, test.Statistics.Rejections);
        }
    }
}
