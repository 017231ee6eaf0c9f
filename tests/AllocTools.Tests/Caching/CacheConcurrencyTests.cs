using System.Runtime.InteropServices;
using AllocTools.Caching;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Caching;

/// <summary>Tests several threads that request and release memory at the same time.</summary>
public sealed class CacheConcurrencyTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ThreadsThatAskForTheSameMemoryRegisterItOnce()
    {
        const int Threads = 6;
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        Memory<byte> memory = new byte[1000];
        using var inside = new ManualResetEventSlim();
        using var mayGo = new ManualResetEventSlim();
        context.BeforeRegister = (_, _) =>
        {
            inside.Set();
            mayGo.Wait(Token);
        };
        Task first = Start(() => cache.Register(memory).Dispose());
        inside.Wait(Token);
        // Parts of the memory are served by the same registration.
        Thread[] others = [.. Enumerable.Range(1, Threads).Select(i => new Thread(() => cache.Register(memory[i..]).Dispose()))];
        Array.ForEach(others, t => t.Start());
        AwaitThatTheyWait(others);
        // Requests for other memory don't wait for it, and neither do their registrations.
        context.BeforeRegister = null;
        cache.Register(new byte[10]).Dispose();
        Assert.Equal(2, context.Registrations);
        mayGo.Set();
        await first;
        Array.ForEach(others, t => t.Join());
        Assert.Equal(2, context.Registrations);
        Assert.Equal(Threads + 2, cache.GetStatistics().Hits + cache.GetStatistics().Misses);
        Assert.Equal(0, cache.GetStatistics().Leases);
    }

    [Fact]
    public async Task WhoWaitsForARegistrationThatFailsTriesItself()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] memory = new byte[1000];
        using var inside = new ManualResetEventSlim();
        using var mayGo = new ManualResetEventSlim();
        context.BeforeRegister = (number, length) =>
        {
            if (number != 1)
                return;
            inside.Set();
            mayGo.Wait(Token);
            throw CountingContext.Refusal(length);
        };
        Exception? refused = null;
        Task first = Start(() => refused = Record.Exception(() => cache.Register(memory)));
        inside.Wait(Token);
        Thread second = new(() => cache.Register(memory).Dispose());
        second.Start();
        AwaitThatTheyWait(second);
        mayGo.Set();
        await first;
        second.Join();
        Assert.IsType<RmaRegistrationException>(refused);
        Assert.Equal((2, 1), (context.Registrations, cache.GetStatistics().Entries));
    }

    [Fact]
    public async Task MemoryThatGoesWhileItIsRegisteredIsFoundByNobody()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] memory = GC.AllocateArray<byte>(1000, pinned: true);
        bool? isGone = null;
        context.BeforeRegister = (number, _) =>
        {
            if (number == 1)
                isGone = cache.Invalidate(memory);
        };
        RmaBuffer buffer = cache.Register(MemoryMarshal.CreateFromPinnedArray(memory, 0, 1000));
        Assert.False(isGone);
        Task gone = cache.InvalidateAsync(buffer.Address, 1, Token);
        Assert.Equal(1, cache.GetStatistics().Entries);
        buffer.Dispose();
        await gone.WaitAsync(TestTime.Seconds(30), Token);
        Assert.Equal((0, 0), (context.Live, cache.GetStatistics().Entries));
    }

    [Fact]
    public async Task InvalidateWaitsForTheThreadThatDeregisters()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool, new RmaRegistrationCacheOptions { MaxEntries = 1 });
        byte[] memory = new byte[1000];
        cache.Register(memory).Dispose();
        using var inside = new ManualResetEventSlim();
        using var mayGo = new ManualResetEventSlim();
        bool isDeregistered = false;
        context.BeforeDeregister = () =>
        {
            inside.Set();
            mayGo.Wait(Token);
            Volatile.Write(ref isDeregistered, true);
        };
        // Another entry takes its place.
        Task other = Start(() => cache.Register(new byte[10]).Dispose());
        inside.Wait(Token);
        bool isGone = false;
        bool wasDeregistered = false;
        Thread owner = new(() =>
        {
            isGone = cache.Invalidate(memory);
            wasDeregistered = Volatile.Read(ref isDeregistered);
        });
        owner.Start();
        Assert.True(SpinWait.SpinUntil(() => (owner.ThreadState & (ThreadState.WaitSleepJoin | ThreadState.Stopped)) != 0, TestTime.Seconds(30)));
        mayGo.Set();
        owner.Join();
        await other;
        Assert.Equal((true, true), (isGone, wasDeregistered));
        Assert.Equal(1, context.Live);
    }

    private static void AwaitThatTheyWait(params Thread[] threads) =>
        Assert.True(SpinWait.SpinUntil(() => threads.All(t => (t.ThreadState & ThreadState.WaitSleepJoin) != 0), TestTime.Seconds(30)));

    private static Task Start(Action work) => Task.Factory.StartNew(work, Token, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
