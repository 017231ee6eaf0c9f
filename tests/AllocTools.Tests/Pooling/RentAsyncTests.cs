using System.Diagnostics;
using AllocTools.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>
/// Tests with a provider that stays in Register as long as the test wants: no method named Async waits for it in the
/// call.
/// </summary>
[Collection(nameof(RentAsyncTests))]
[CollectionDefinition(nameof(RentAsyncTests), DisableParallelization = true)] // one of them blocks all threads of the thread pool
public sealed class RentAsyncTests : IDisposable
{
    private const int Block = 64 << 10;
    private const int Direct = 4 << 20;
    private static readonly TimeSpan Enough = TimeSpan.FromSeconds(60);

    // Results that a test awaits must come from the provider's thread alone.
    private readonly ManualResetEventSlim _entered = new();
    private readonly ManualResetEventSlim _mayGoOn = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _mayGoOn.Set();
        _entered.Dispose();
    }

    [Theory]
    [InlineData(Block)]
    [InlineData(Direct)]
    public async Task WhileTheProviderIsInRegisterTheCallerHasAPendingTaskThatEndsWithIt(int length)
    {
        await using TestPool test = Slow();
        Task<RmaBuffer> rent = test.Pool.RentAsync(length, Token).AsTask();
        Assert.True(_entered.Wait(Enough, Token));
        Assert.False(rent.IsCompleted);
        Assert.Equal(0, test.Statistics.PendingRequests);
        _mayGoOn.Set();
        using RmaBuffer buffer = await rent.WaitAsync(Enough, Token);
        Assert.True(buffer.IsRented);
        Assert.Equal((1, 1), (test.Statistics.Misses, test.Statistics.Registrations));
    }

    [Theory]
    [InlineData(Block)]
    [InlineData(Direct)]
    public async Task CancellingEndsTheTaskAtOnceAndWhatIsRegisteredStaysWithThePool(int length)
    {
        await using TestPool test = Slow();
        using var cancel = new CancellationTokenSource();
        Task<RmaBuffer> rent = test.Pool.RentAsync(length, cancel.Token).AsTask();
        Assert.True(_entered.Wait(Enough, Token));
        await cancel.CancelAsync();
        OperationCanceledException error = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => rent.WaitAsync(Enough, Token));
        Assert.Equal(cancel.Token, error.CancellationToken);
        _mayGoOn.Set();
        Assert.True(SpinWait.SpinUntil(() => test.Statistics.Registrations == 1 && !test.Pool.ServesWaiters, Enough));
        Assert.Equal(0, test.Statistics.RentedBuffers);
        using RmaBuffer next = test.Pool.Rent(length);
        Assert.Equal(1, test.Statistics.Registrations);
    }

    [Fact]
    public async Task RentTimeoutEndsTheTaskThoughTheProviderHangs()
    {
        var time = new FakeTimeProvider();
        await using TestPool test = Slow(o => o.RentTimeout = TimeSpan.FromSeconds(5), time);
        Task<RmaBuffer> rent = test.Pool.RentAsync(Block, Token).AsTask();
        Assert.True(_entered.Wait(Enough, Token));
        time.Advance(TimeSpan.FromSeconds(5));
        RmaPoolExhaustedException error = await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => rent.WaitAsync(Enough, Token));
        Assert.Contains("RentTimeout", error.Message, StringComparison.Ordinal);
        Assert.Equal((1, 1), (test.Statistics.RentTimeouts, test.Statistics.Rejections));
    }

    [Fact]
    public async Task AnotherThreadsGrowthOfTheClassIsAwaitedAndServesAllWhoWait()
    {
        await using TestPool test = Slow();
        Task<RmaBuffer> first = Task.Factory.StartNew(() => test.Pool.Rent(Block), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.True(_entered.Wait(Enough, Token));
        Task<RmaBuffer>[] others = [.. Enumerable.Range(0, 5).Select(_ => test.Pool.RentAsync(Block, Token).AsTask())];
        Assert.All(others, o => Assert.False(o.IsCompleted));
        _mayGoOn.Set();
        RmaBuffer[] buffers = await Task.WhenAll([first, .. others]).WaitAsync(Enough, Token);
        Assert.Equal(buffers.Length, buffers.DistinctBy(b => b.Address).Count());
        Assert.Equal(1, test.Statistics.Registrations);
        Array.ForEach(buffers, b => b.Dispose());
        test.CheckBooks();
    }

    [Fact]
    public async Task ABlockThatComesBackMeanwhileServesWhoAsksNextWithoutAThreadOrAnAllocation()
    {
        await using TestPool test = Slow();
        _mayGoOn.Set();
        RmaBuffer[] all = [.. Enumerable.Range(0, 16).Select(_ => test.Pool.Rent(Block))];
        _mayGoOn.Reset();
        _entered.Reset();
        Task<RmaBuffer> pending = test.Pool.RentAsync(Block, Token).AsTask();
        Assert.True(_entered.Wait(Enough, Token));
        var allocations = new ThreadAllocations();
        for (int i = 0; i < 100; i++)
        {
            all[0].Dispose();
            allocations.Begin();
            ValueTask<RmaBuffer> rent = test.Pool.RentAsync(Block, Token);
            allocations.End();
            Assert.True(rent.IsCompletedSuccessfully);
            all[0] = await rent;
        }
        allocations.AssertNone();
        Assert.False(pending.IsCompleted);
        _mayGoOn.Set();
        (await pending.WaitAsync(Enough, Token)).Dispose();
        Array.ForEach(all, b => b.Dispose());
    }

    [Fact]
    public async Task BlockedCallersOnAllThreadsOfTheThreadPoolAreServed()
    {
        await using TestPool test = Slow();
        _mayGoOn.Set();
        ThreadPool.GetMinThreads(out int threads, out _);
        // There are more callers than threads: no blocked caller may be needed to serve the others.
        Task[] callers = [.. Enumerable.Range(0, threads + 2).Select(i => Task.Run(
            () => test.Pool.RentAsync(i % 2 == 0 ? Direct + i : Block, Token).AsTask().GetAwaiter().GetResult().Dispose(), Token))];
        await Task.WhenAll(callers).WaitAsync(Enough, Token);
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task WhatTheProviderThrowsIsInTheTask()
    {
        var context = new CountingContext { BeforeRegister = (_, length) => throw CountingContext.Refusal(length) };
        await using var test = new TestPool(context);
        foreach (int length in new[] { Block, Direct })
        {
            Task<RmaBuffer> refused = test.Pool.RentAsync(length, Token).AsTask();
            await Assert.ThrowsAsync<RmaRegistrationException>(() => refused.WaitAsync(Enough, Token));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ClosingThePoolEndsTheTaskAndLeaksNothing(bool drains)
    {
        var blocks = new CountingAllocator();
        var context = Context();
        var test = new TestPool(context, blocks: blocks);
        Task<RmaBuffer> rent = test.Pool.RentAsync(Block, Token).AsTask();
        Assert.True(_entered.Wait(Enough, Token));
        if (drains)
            Assert.True(await test.Pool.DrainAsync(TimeSpan.Zero, Token));
        else
            test.Pool.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => rent.WaitAsync(Enough, Token));
        _mayGoOn.Set();
        await test.DisposeAsync();
        // The thread that registered the memory gives it back, maybe after the context has closed.
        Assert.True(SpinWait.SpinUntil(() => context.WasClosed && blocks.Mapped == 0, Enough), $"closed: {context.WasClosed}, mapped: {blocks.Mapped}");
        Assert.Equal(0, context.Live);
    }

    [Fact]
    public async Task WithoutATimeToWaitItIsRefusedAtTheCapAndRegistersBelowIt()
    {
        await using TestPool test = Slow(o =>
        {
            TestPool.Classes(Block)(o);
            o.RentTimeout = TimeSpan.Zero;
            o.MaxRegisteredBytes = Block;
        });
        Task<RmaBuffer> rent = test.Pool.RentAsync(Block, Token).AsTask();
        Assert.True(_entered.Wait(Enough, Token));
        _mayGoOn.Set();
        using RmaBuffer buffer = await rent.WaitAsync(Enough, Token);
        await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => test.Pool.RentAsync(Block, Token).AsTask().WaitAsync(Enough, Token));
        Assert.Equal(1, test.Statistics.Rejections);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ARentWaitsForAnotherThreadsRegistrationNoLongerThanRentTimeout(bool throws)
    {
        await using TestPool test = Slow(o => o.RentTimeout = TimeSpan.FromMilliseconds(50));
        Task<RmaBuffer> first = Task.Factory.StartNew(() => test.Pool.Rent(Block), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.True(_entered.Wait(Enough, Token));
        if (throws)
            Assert.Contains("RentTimeout", Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Rent(Block)).Message, StringComparison.Ordinal);
        else
            Assert.False(test.Pool.TryRent(Block, out _));
        Assert.False(first.IsCompleted);
        Assert.Equal((1, 1), (test.Statistics.RentTimeouts, test.Statistics.Rejections));
        _mayGoOn.Set();
        (await first.WaitAsync(Enough, Token)).Dispose();
        test.Pool.Rent(Block).Dispose();
    }

    [Fact]
    public async Task DisposeAsyncGivesBackOnAThreadOfItsOwn()
    {
        var context = new CountingContext();
        var test = new TestPool(context);
        test.Pool.Rent(Block).Dispose();
        context.BeforeDeregister = () =>
        {
            _entered.Set();
            _mayGoOn.Wait();
        };
        ValueTask closing = test.Pool.DisposeAsync();
        Assert.False(closing.IsCompleted);
        Assert.True(_entered.Wait(Enough, Token));
        _mayGoOn.Set();
        await closing.AsTask().WaitAsync(Enough, Token);
        Assert.Equal((0, true), (context.Live, context.WasClosed));
    }

    [Fact]
    public async Task MemoryIsRegisteredInTheCallersSpan()
    {
        using var source = new ActivitySource(nameof(MemoryIsRegisteredInTheCallersSpan));
        using var listener = new ActivityListener
        {
            ShouldListenTo = s => s == source,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
        };
        ActivitySource.AddActivityListener(listener);
        Activity? seen = null;
        var context = new CountingContext { BeforeRegister = (_, _) => seen = Activity.Current };
        await using var test = new TestPool(context);
        using Activity? caller = source.StartActivity("caller");
        (await test.Pool.RentAsync(Block, Token)).Dispose();
        Assert.NotNull(caller);
        Assert.Equal(caller.TraceId, seen?.TraceId);
    }

    private TestPool Slow(Action<RmaMemoryPoolOptions>? configure = null, TimeProvider? time = null) => new(Context(), configure, time);

    private CountingContext Context()
    {
        Thread caller = Thread.CurrentThread;
        return new CountingContext
        {
            BeforeRegister = (_, _) =>
            {
                // A call on the test's own thread would never return, so the test fails instead.
                if (!_mayGoOn.IsSet)
                    Assert.NotSame(caller, Thread.CurrentThread);
                _entered.Set();
                _mayGoOn.Wait();
            },
        };
    }
}
