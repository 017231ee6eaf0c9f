using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests that room that becomes free by something other than a return is offered to waiters, too.</summary>
public sealed class RoomForWaitersTests
{
    private const long Block = 4096;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WhatIsTrimmedWhileSomebodyBeginsToWaitIsForHim()
    {
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var time = new FakeTimeProvider();
        var context = new CountingContext();
        await using var test = new TestPool(
            context,
            o =>
            {
                o.MaxRegisteredBytes = 2 * Block;
                o.IdleRetention = TimeSpan.Zero;
                o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
            },
            time);
        test.Pool.Rent(2 * Block).Dispose();
        context.BeforeDeregister = () =>
        {
            entered.Set();
            go.Wait(Token);
        };
        Task trimming = Task.Factory.StartNew(() => time.Advance(TimeSpan.FromSeconds(10)), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait(Token);
        // The region is off the shelf, but its bytes are not free yet.
        Task<RmaBuffer> waiting = test.Pool.RentAsync(Block, Token).AsTask();
        WaitUntilAtRest(test);
        Assert.False(waiting.IsCompleted);
        go.Set();
        (await waiting.WaitAsync(Patience, Token)).Dispose();
        await trimming;
    }

    [Fact]
    public async Task WhatARefusedRegistrationHadReservedIsForThoseWhoWait()
    {
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var context = new CountingContext();
        await using var test = new TestPool(context, o =>
        {
            o.MaxRegisteredBytes = 2 * Block;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        });
        context.BeforeRegister = (number, length) =>
        {
            if (number != 1)
                return;
            entered.Set();
            go.Wait(Token);
            throw CountingContext.Refusal(length);
        };
        Task<RmaBuffer> refused = Task.Factory.StartNew(() => test.Pool.Rent(2 * Block), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait(Token);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(Block, Token).AsTask();
        WaitUntilAtRest(test);
        Assert.False(waiting.IsCompleted);
        go.Set();
        await Assert.ThrowsAsync<RmaRegistrationException>(() => refused);
        (await waiting.WaitAsync(Patience, Token)).Dispose();
    }

    [Fact]
    public async Task WhatAClassGrowsByIsForThoseWhoWaitForSmallerBlocks()
    {
        using var entered = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var context = new CountingContext();
        await using var test = new TestPool(context, o =>
        {
            o.MaxRegisteredBytes = 64 << 10;
            o.MaxSlabBytes = 64 << 10;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024 });
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 16 << 10 });
        });
        context.BeforeRegister = (_, _) =>
        {
            entered.Set();
            go.Wait(Token);
        };
        Task<RmaBuffer> growing = Task.Factory.StartNew(() => test.Pool.Rent(16 << 10), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait(Token);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(1024, Token).AsTask();
        WaitUntilAtRest(test);
        Assert.False(waiting.IsCompleted);
        go.Set();
        using RmaBuffer large = await growing;
        using RmaBuffer small = await waiting.WaitAsync(Patience, Token);
        Assert.Equal(16 << 10, small.Capacity);
    }

    /// <summary>Waits until the pool has tried in vain to serve the waiter.</summary>
    private static void WaitUntilAtRest(TestPool test) => Assert.True(SpinWait.SpinUntil(() => !test.Pool.ServesWaiters, Patience));
}
