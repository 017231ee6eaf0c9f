using AllocTools.Pooling;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests that the threads that serve waiters end when nobody needs them.</summary>
public sealed class OnDemandThreadTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public void ItEndsThoughWhatItSleptForIsGone()
    {
        int calls = 0;
        // There is nothing left to do before the hour is over.
        Thread worker = Start(() => ++calls == 1 ? TimeSpan.FromHours(1) : Timeout.InfiniteTimeSpan, TimeSpan.FromMilliseconds(10), out _);
        Assert.True(worker.Join(Patience));
    }

    [Fact]
    public void ItEndsWithItsOwner()
    {
        Thread worker = Start(() => Timeout.InfiniteTimeSpan, TimeSpan.FromHours(1), out OnDemandThread thread);
        thread.End();
        Assert.True(worker.Join(Patience));
    }

    [Fact]
    public void ItEndsWithItsOwnerThoughItSleptForATime()
    {
        int calls = 0;
        Thread worker = Start(() => ++calls == 1 ? TimeSpan.FromHours(1) : Timeout.InfiniteTimeSpan, TimeSpan.FromHours(1), out OnDemandThread thread);
        thread.End();
        Assert.True(worker.Join(Patience));
    }

    // The pool's threads stay for 10 s unless they are ended explicitly.
    [Fact]
    public async Task ADisposedPoolEndsThem()
    {
        Thread? server = null;
        var context = new CountingContext();
        await using var test = new TestPool(context, o =>
        {
            TestPool.Classes(4096, 8192)(o);
            o.MaxRegisteredBytes = 8192;
            o.MaxSlabBytes = 65536;
        });
        RmaBuffer[] held = [test.Pool.Rent(4096), test.Pool.Rent(4096)];
        Task<RmaBuffer> waiting = test.Pool.RentAsync(8192, Token).AsTask();
        context.BeforeRegister = (_, _) => server = Thread.CurrentThread;
        foreach (RmaBuffer buffer in held)
            buffer.Dispose();
        (await waiting.WaitAsync(Patience, Token)).Dispose();
        Assert.Equal("test waiters", server!.Name);
        await test.Pool.DisposeAsync();
        Assert.True(server.Join(TimeSpan.FromSeconds(8)));
    }

    private static Thread Start(Func<TimeSpan> work, TimeSpan linger, out OnDemandThread thread)
    {
        Thread? worker = null;
        using ManualResetEventSlim worked = new();
        thread = new OnDemandThread("test", () =>
        {
            worker ??= Thread.CurrentThread;
            TimeSpan next = work();
            worked.Set();
            return next;
        })
        { Linger = linger };
        thread.Signal();
        worked.Wait(Token);
        return worker!;
    }
}
