using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests options that change while the pool is in use.</summary>
public sealed class ReconfigureTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task TheCapChanges()
    {
        await using var test = new TestPool(Small);
        test.Pool.Reconfigure(Options(o => o.MaxRegisteredBytes = 1 << 20));
        Assert.Equal(1 << 20, test.Statistics.LimitBytes);
    }

    [Fact]
    public async Task TrimmingBeginsAndEnds()
    {
        var time = new FakeTimeProvider();
        await using var test = new TestPool(
            o =>
            {
                Small(o);
                o.IdleRetention = Timeout.InfiniteTimeSpan;
            },
            time);
        test.Pool.Rent(1024).Dispose();
        time.Advance(TimeSpan.FromHours(1));
        Assert.NotEqual(0, test.Statistics.RegisteredBytes);
        test.Pool.Reconfigure(Options(o =>
        {
            o.IdleRetention = TimeSpan.FromSeconds(5);
            o.TrimInterval = TimeSpan.FromSeconds(1);
        }));
        for (int i = 0; i < 10; i++)
            time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(0, test.Statistics.RegisteredBytes);
        test.Pool.Rent(1024).Dispose();
        test.Pool.Reconfigure(Options(o => o.TrimInterval = Timeout.InfiniteTimeSpan));
        time.Advance(TimeSpan.FromHours(1));
        Assert.NotEqual(0, test.Statistics.RegisteredBytes);
    }

    [Fact]
    public async Task LaterWaitsHaveTheNewTimeOut()
    {
        var time = new FakeTimeProvider();
        await using var test = new TestPool(Small, time);
        using RmaBuffer all = test.Pool.Rent(4 << 20);
        test.Pool.Reconfigure(Options(o => o.RentTimeout = TimeSpan.FromMinutes(5)));
        Task<RmaBuffer> waiting = test.Pool.RentAsync(1024, Token).AsTask();
        time.Advance(TimeSpan.FromMinutes(4));
        Assert.False(waiting.IsCompleted);
        time.Advance(TimeSpan.FromMinutes(2));
        RmaPoolExhaustedException e = await Assert.ThrowsAsync<RmaPoolExhaustedException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(30), Token));
        Assert.Contains("00:05:00", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LaterRentsAreWatched()
    {
        await using var test = new TestPool(Small);
        test.Pool.Rent(1024).Dispose();
        test.Pool.Reconfigure(Options(o => o.LeakDetection = RmaLeakDetection.All));
        Lose(test, 3);
        for (int i = 0; i < 50 && test.Statistics.Leaks < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.Equal(3, test.Statistics.Leaks);
    }

    [Fact]
    public async Task InvalidOptionsChangeNothing()
    {
        await using var test = new TestPool(Small);
        OptionsValidationException e = Assert.Throws<OptionsValidationException>(() => test.Pool.Reconfigure(Options(o =>
        {
            o.MaxRegisteredBytes = 1 << 20;
            o.RentTimeout = TimeSpan.FromSeconds(-5);
        })));
        Assert.StartsWith("RentTimeout is -5 seconds;", Assert.Single(e.Failures), StringComparison.Ordinal);
        Assert.Equal(4 << 20, test.Statistics.LimitBytes);
    }

    [Fact]
    public async Task AClosedPoolTakesNone()
    {
        var test = new TestPool(Small);
        await test.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => test.Pool.Reconfigure(Options(_ => { })));
    }

    private static void Lose(TestPool test, int count)
    {
        var thread = new Thread(() =>
        {
            for (int i = 0; i < count; i++)
                test.Pool.Rent(1024);
        });
        thread.Start();
        thread.Join();
    }

    private static void Small(RmaMemoryPoolOptions options)
    {
        options.MaxRegisteredBytes = 4 << 20;
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024 });
    }

    private static RmaMemoryPoolOptions Options(Action<RmaMemoryPoolOptions> configure)
    {
        var options = new RmaMemoryPoolOptions();
        Small(options);
        configure(options);
        return options;
    }
}
