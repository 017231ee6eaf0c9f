using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests requests for which the cap leaves no room.</summary>
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
        Assert.Contains("MaxRegisteredBytes is 4 KiB (4,096 bytes)", error.Message, StringComparison.Ordinal);
        Assert.Contains("1 buffer is rented and 0 requests wait.", error.Message, StringComparison.Ordinal);
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
        // A slab is a single block, so the thread that registers it and the others compete for the same one.
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

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ARequestThatCantBeServedTakesNothingFromOthers(bool isDirect)
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 16 << 20;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1 << 20 });
        });
        using RmaBuffer held = test.Pool.Rent(9 << 20);
        // These become idle: slabs of both classes, with blocks in this thread's magazines, and a direct region.
        test.Pool.Rent(1).Dispose();
        test.Pool.Rent(1 << 20).Dispose();
        test.Pool.Rent(2 << 20).Dispose();
        long registered = test.Statistics.RegisteredBytes;
        long barriers = test.Pool.Barriers;
        byte[] own = new byte[8 << 20];
        if (isDirect)
            Assert.False(test.Pool.TryRent(8 << 20, out _));
        else
            Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Register(own));
        Assert.Equal(registered, test.Statistics.RegisteredBytes);
        Assert.Equal(0, test.Statistics.Deregistrations);
        Assert.Equal(barriers, test.Pool.Barriers);
        // A request that can be served takes the memory that it needs.
        using RmaBuffer fits = test.Pool.Rent(7 << 20);
        Assert.NotEqual(0, test.Statistics.Deregistrations);
    }

    [Fact]
    public async Task WhatWasRegisteredAtStartStaysWithItsClass()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 1 << 20;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024, InitialBlocks = 512 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
        });
        await test.Pool.WarmUpAsync(TestContext.Current.CancellationToken);
        test.Pool.Rent(1).Dispose();
        List<RmaBuffer> blocks = [];
        while (test.Pool.TryRent(64 << 10, out RmaBuffer block))
            blocks.Add(block);
        Assert.Equal(8, blocks.Count);
        RmaPoolExhaustedException error = Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Rent(600 << 10));
        Assert.Contains("600 KiB (614,400 bytes) beside the 512 KiB (524,288 bytes) of its InitialBlocks", error.Message, StringComparison.Ordinal);
        // Waiting would be futile, so it is refused at once.
        await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => test.Pool.RentAsync(600 << 10, TestContext.Current.CancellationToken).AsTask());
        Assert.Equal(0, test.Statistics.RentTimeouts);
        Assert.Equal(512, test.Statistics.SizeClasses[0].IdleBuffers);
        // A lower cap takes precedence over initial blocks.
        blocks.ForEach(b => b.Dispose());
        test.Pool.SetLimit(256 << 10);
        Assert.Equal(0, test.Statistics.RegisteredBytes);
    }

    [Theory]
    [InlineData("rent")]
    [InlineData("direct")]
    [InlineData("register")]
    [InlineData("expose")]
    public async Task NobodyIsRefusedForWhatIsOnlyPassing(string request)
    {
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var context = new CountingContext();
        await using var test = new TestPool(context, o =>
        {
            o.MaxRegisteredBytes = 1 << 20;
            o.MaxSlabBytes = 256 << 10;
            o.Access = RmaAccess.RemoteRead;
            o.Isolation = RmaIsolation.PerExposure;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024, InitialBlocks = 4 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 256 << 10 });
        });
        CancellationToken token = TestContext.Current.CancellationToken;
        await test.Pool.WarmUpAsync(token);
        using RmaBuffer small = test.Pool.Rent(1);
        // Most of the cap is registered for a request that the provider finally refuses.
        context.BeforeRegister = (_, length) =>
        {
            if (length < 900 << 10)
                return;
            entered.Set();
            go.Wait(token);
            throw CountingContext.Refusal(length);
        };
        Task refused = Task.Factory.StartNew(() => test.Pool.Rent(1000 << 10), token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait(token);
        byte[] own = new byte[100 << 10];
        Task asking = Task.Factory.StartNew(
            () =>
            {
                using IDisposable served = request switch
                {
                    "rent" => test.Pool.Rent(256 << 10),
                    "direct" => test.Pool.Rent(300 << 10),
                    "register" => test.Pool.Register(own),
                    _ => ExposeMuch(test),
                };
            },
            token,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        Assert.False(test.Pool.TryRent(1024 << 10, out _));
        go.Set();
        await Assert.ThrowsAsync<RmaRegistrationException>(() => refused);
        await asking.WaitAsync(TimeSpan.FromSeconds(30), token);
    }

    private static RmaExposure ExposeMuch(TestPool test)
    {
        using RmaBuffer block = test.Pool.Rent(256 << 10);
        RmaExposure exposure = block.Expose(RmaAccess.RemoteRead);
        exposure.Dispose();
        return exposure;
    }
}
