using AllocTools.Endpoints.Engine;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class SlotPoolTests
{
    [Fact]
    public void NoSlotIsInTwoHandsOrLost()
    {
        const int Slots = 3, Threads = 4, Rounds = 200_000;
        OperationSlot[] slots = Make(Slots);
        SlotPool pool = new(slots, (_, _) => throw new InvalidOperationException("nobody waits"));
        int[] owners = new int[Slots];
        Parallel.For(0, Threads, new ParallelOptions { MaxDegreeOfParallelism = Threads }, _ =>
        {
            for (int i = 0; i < Rounds; i++)
            {
                if (!pool.TryTake(out OperationSlot? slot))
                    continue;
                Assert.Equal(1, Interlocked.Increment(ref owners[slot.Index]));
                Interlocked.Decrement(ref owners[slot.Index]);
                pool.Return(slot);
            }
        });
        Assert.Equal(Slots, TakeAll(pool).Count);
    }

    [Fact]
    public void WhoWaitsIsServedWhileOthersTakeAndReturn()
    {
        const int Slots = 2, Threads = 4, Rounds = 20_000;
        OperationSlot[] slots = Make(Slots);
        int given = 0;
        SlotPool pool = null!;
        pool = new SlotPool(slots, (waiting, slot) =>
        {
            Interlocked.Increment(ref given);
            // Every other waiter can no longer be served: its slot stays with the pool.
            bool served = given % 2 == 0;
            if (served)
                ThreadPool.QueueUserWorkItem(_ => pool.Return(slot));
            waiting.TrySetResult(default);
            return served;
        });
        Parallel.For(0, Threads, new ParallelOptions { MaxDegreeOfParallelism = Threads }, _ =>
        {
            for (int i = 0; i < Rounds; i++)
            {
                if (pool.TryTake(out OperationSlot? slot))
                {
                    pool.Return(slot);
                    continue;
                }
                WaitingOperation waiting = Waiting();
                pool.TryWait(waiting);
                Assert.True(waiting.Task.Wait(TimeSpan.FromSeconds(30)), "forgotten");
            }
        });
        // Slots that were given to a waiter are returned asynchronously.
        HashSet<int> seen = [];
        Assert.True(SpinWait.SpinUntil(() => TakeAll(pool, seen).Count == Slots, TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public void WhoWaitsIsNotOvertakenAndMayGiveUp()
    {
        OperationSlot[] slots = Make(1);
        List<WaitingOperation> served = [];
        SlotPool pool = new(slots, (waiting, _) =>
        {
            served.Add(waiting);
            return true;
        });
        Assert.True(pool.TryTake(out OperationSlot? slot));
        WaitingOperation first = Waiting(), second = Waiting(), third = Waiting();
        pool.TryWait(first);
        LinkedListNode<WaitingOperation> node = pool.TryWait(second)!;
        pool.TryWait(third);
        Assert.True(pool.TryRemove(node));
        Assert.False(pool.TryRemove(node));
        pool.Return(slot);
        Assert.False(pool.TryTake(out _));
        pool.Return(slot);
        Assert.Equal([first, third], served);
        pool.Return(slot);
        Assert.True(pool.TryTake(out _));
        Assert.False(pool.TryTake(out _));
    }

    // Otherwise its taker would post at once, ahead of an operation that is not queued yet.
    [Fact]
    public void NobodyTakesASlotWhileOneIsGivenToAWaiter()
    {
        OperationSlot[] slots = Make(3);
        int given = 0;
        SlotPool pool = null!;
        pool = new SlotPool(slots, (_, _) =>
        {
            given++;
            Assert.False(pool.TryTake(out _));
            return given == 1;
        });
        pool.TryWait(Waiting());
        pool.TryWait(Waiting());
        Assert.Equal(2, given);
        Assert.Equal(2, TakeAll(pool).Count);
    }

    private static OperationSlot[] Make(int count) => [.. Enumerable.Range(0, count).Select(i => new OperationSlot(null!, i, runsInline: false))];

    private static WaitingOperation Waiting() => new(default, default, 0, long.MaxValue, CancellationToken.None);

    private static HashSet<int> TakeAll(SlotPool pool, HashSet<int>? into = null)
    {
        HashSet<int> taken = into ?? [];
        while (pool.TryTake(out OperationSlot? slot))
            Assert.True(taken.Add(slot.Index), "taken twice");
        return taken;
    }
}
