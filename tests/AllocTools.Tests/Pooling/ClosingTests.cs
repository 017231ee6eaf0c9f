using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests draining and disposing with rented buffers, waiters and registrations under way.</summary>
public sealed class ClosingTests
{
    private const long Block = 4096;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

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
    public async Task ALateDisposeThrowsNothingGivesItsMemoryBackAndIsLoggedWithItsOwner()
    {
        var context = new CountingContext();
        var blocks = new CountingAllocator();
        var logs = new FakeLogCollector();
        using var logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(logs)));
        var test = new TestPool(context, o => o.LeakDetection = RmaLeakDetection.All, logging: logging, blocks: blocks);
        using IDisposable owner = RmaOwner.Begin("gradients");
        RmaBuffer pooled = test.Pool.Rent(1000);
        RmaBuffer direct = test.Pool.Rent(5 << 20);
        RmaBuffer mine = test.Pool.Register(new byte[10]);
        RmaBuffer held = test.Pool.Rent(1000);
        RmaHold hold = held.Hold();
        await test.DisposeAsync();
        pooled.Dispose();
        direct.Dispose();
        mine.Dispose();
        held.Dispose();
        hold.Release();
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
        Assert.True(context.WasClosed);
        Assert.Equal(4, test.Statistics.LateReturns);
        // The caller's own memory is not watched, so its owner is unknown.
        FakeLogRecord[] late = [.. logs.GetSnapshot().Where(l => l.Id.Id == 31)];
        Assert.Equal(3, late.Length);
        Assert.Contains("1,000 bytes, rented by gradients", late[0].Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(pooled.Dispose);
    }

    [Fact]
    public async Task OfLateReturnsWithoutAKnownOwnerOneIsLogged()
    {
        var logs = new FakeLogCollector();
        using var logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(logs)));
        var test = new TestPool(logging: logging);
        RmaBuffer[] late = [.. Enumerable.Range(0, 100).Select(_ => test.Pool.Rent(1000))];
        await test.DisposeAsync();
        foreach (RmaBuffer buffer in late)
            buffer.Dispose();
        Assert.Single(logs.GetSnapshot(), l => l.Id.Id == 31);
        Assert.Equal(100, test.Statistics.LateReturns);
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
        Assert.Contains(logs.GetSnapshot(), l => l.Id.Id == 2 && l.Message.Contains("(3)", StringComparison.Ordinal));
        Assert.False(context.WasClosed);
        pooled.Span.Fill(1);
        Assert.Throws<ObjectDisposedException>(pooled.Return);
        Assert.Throws<ObjectDisposedException>(direct.Return);
        Assert.Throws<ObjectDisposedException>(mine.Return);
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
        Assert.True(context.WasClosed);
        Assert.Throws<InvalidOperationException>(pooled.Dispose);
    }

    [Fact]
    public async Task DrainingWhatIsDisposedWaitsForNothing()
    {
        var test = new TestPool();
        RmaBuffer held = test.Pool.Rent(1);
        test.Pool.Dispose();
        Assert.False(await test.Pool.DrainAsync(Timeout.InfiniteTimeSpan, Token).AsTask().WaitAsync(TimeSpan.FromSeconds(30), Token));
        string late = Assert.Throws<ObjectDisposedException>(held.Return).Message;
        Assert.Contains("taken back all the same", late, StringComparison.Ordinal);
        Assert.True(await test.Pool.DrainAsync(cancellationToken: Token));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task DisposingThePoolEndsADrain(bool asynchronously)
    {
        var test = new TestPool();
        RmaBuffer held = test.Pool.Rent(1);
        Task<bool> draining = test.Pool.DrainAsync(Timeout.InfiniteTimeSpan, Token).AsTask();
        Assert.False(draining.IsCompleted);
        if (asynchronously)
            await test.DisposeAsync();
        else
            test.Pool.Dispose();
        Assert.False(await draining.WaitAsync(TimeSpan.FromSeconds(30), Token));
        Assert.True(held.IsRented);
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
        using var cancel = new CancellationTokenSource();
        Task<bool> draining = test.Pool.DrainAsync(Timeout.InfiniteTimeSpan, cancel.Token).AsTask();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => draining);
        Assert.False(await test.Pool.DrainAsync(TimeSpan.FromMilliseconds(1), Token));
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = test.Pool.DrainAsync(TimeSpan.FromSeconds(-1), Token).AsTask(); });
        held.Dispose();
        Assert.True(await test.Pool.DrainAsync(cancellationToken: Token));
    }

    [Fact]
    public async Task DrainingDoesNotWaitForTheQuarantineWhichEndsWithTheEndpoint()
    {
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var test = new TestPool(context, o => o.DrainTimeout = TimeSpan.FromMinutes(5), blocks: blocks);
        RmaBuffer buffer = test.Pool.Rent(1000);
        RmaHold hold = buffer.Hold();
        ValueTask<bool> draining = test.Pool.DrainAsync(Timeout.InfiniteTimeSpan, Token);
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
        // The round that served the waiter goes on independently, and gives back what it took.
        SpinWait.SpinUntil(() => context.WasClosed && blocks.Mapped == 0, TimeSpan.FromSeconds(30));
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
    }
}
