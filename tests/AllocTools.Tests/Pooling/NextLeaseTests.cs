using AllocTools.Pooling;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests that a free block's next lease is kept beside its number, and matches its state word.</summary>
public sealed class NextLeaseTests
{
    private const int Block = 64 << 10;
    private const int Blocks = 96;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public void ShelvesAndMagazinesKeepTheLeaseAndReadNoStateWord()
    {
        const int Count = 8;
        // The slab's state words are 0 all the time.
        Slab slab = new(null!, new MemoryRegion(Block, Count * Block, RmaAccess.Local, null!), Block, Count, Slab.AllocateStates(Block, Count));
        SlabShelves shelves = new(TimeProvider.System);
        shelves.Add(slab, isInitial: false);
        FreeBlock[] blocks = new FreeBlock[Count];
        Assert.Equal(Count, shelves.Take(blocks));
        Assert.All(blocks, b => Assert.Equal(0u, b.Lease));
        Assert.Equal(Enumerable.Range(0, Count), blocks.Select(b => b.Index).Order());

        shelves.Put([.. blocks.Select(b => new FreeBlock(b.Slab, b.Index, LeaseOf(b.Index)))]);
        Magazine magazine = new(ThreadNumbers.GetOrTake(), Count, Count);
        int mode = 0;
        Assert.True(magazine.TryFill(shelves, ref mode, out FreeBlock first));
        Assert.True(magazine.TryPush(first, ref mode));
        Assert.Equal(Count / 2, magazine.Spill(shelves));
        Assert.True(magazine.TryFill(shelves, ref mode, out first));
        List<FreeBlock> taken = [first];
        while (magazine.TryPop(out FreeBlock block))
            taken.Add(block);
        Assert.Equal(Count - taken.Count, shelves.Take(blocks));
        taken.AddRange(blocks[..(Count - taken.Count)]);
        Assert.Equal(Enumerable.Range(0, Count), taken.Select(b => b.Index).Order());
        Assert.All(taken, b => Assert.Equal(LeaseOf(b.Index), b.Lease));

        static ulong LeaseOf(int index) => (ulong)(index + 1) * Slab.GenerationUnit;
    }

    [Theory]
    [InlineData(nameof(Dispose))]
    [InlineData(nameof(ReturnOnAnotherThread))]
    [InlineData(nameof(ReleaseTheLastHold))]
    [InlineData(nameof(ReleaseFromQuarantine))]
    [InlineData(nameof(GiveBack))]
    public async Task WhicheverWayABlockComesBackItsNextLeaseIsInForceAndTheLastOneIsNot(string way)
    {
        await using var test = new TestPool(o =>
        {
            TestPool.Classes(Block)(o);
            o.MaxRegisteredBytes = Blocks * Block;
        });
        RmaBuffer[] before = RentAll(test);
        for (int round = 0; round < 3; round++)
        {
            Array.ForEach(before, way switch
            {
                nameof(Dispose) => Dispose,
                nameof(ReturnOnAnotherThread) => ReturnOnAnotherThread,
                nameof(ReleaseTheLastHold) => ReleaseTheLastHold,
                nameof(ReleaseFromQuarantine) => ReleaseFromQuarantine,
                _ => GiveBack,
            });
            RmaBuffer[] now = RentAll(test);
            Assert.Equal(before.Select(b => b.UncheckedAddress).Order(), now.Select(b => b.Address).Order());
            Assert.All(now, b => Assert.True(b.IsRented));
            Assert.All(before, b => Assert.False(b.IsRented));
            Assert.All(before, b => Assert.Throws<InvalidOperationException>(b.Dispose));
            before = now;
        }
        Array.ForEach(before, Dispose);
        Assert.Equal(Blocks, test.Statistics.SizeClasses[0].IdleBuffers);
    }

    [Fact]
    public async Task ABlockThatAWaiterGetsHasALeaseInForce()
    {
        await using var test = new TestPool(o =>
        {
            TestPool.Classes(Block)(o);
            o.MaxRegisteredBytes = Block;
        });
        RmaBuffer first = test.Pool.Rent(Block);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(Block, Token).AsTask();
        first.Dispose();
        RmaBuffer second = await waiting;
        Assert.Throws<InvalidOperationException>(first.Dispose);
        Assert.True(second.IsRented);
        second.Dispose();
    }

    private static RmaBuffer[] RentAll(TestPool test)
    {
        RmaBuffer[] buffers = [.. Enumerable.Range(0, Blocks).Select(_ => test.Pool.Rent(Block))];
        Assert.False(test.Pool.TryRent(Block, out _));
        return buffers;
    }

    private static void Dispose(RmaBuffer buffer) => buffer.Dispose();

    private static void ReturnOnAnotherThread(RmaBuffer buffer)
    {
        Thread other = new(buffer.Return);
        other.Start();
        other.Join();
    }

    private static void ReleaseTheLastHold(RmaBuffer buffer)
    {
        RmaHold one = buffer.Hold();
        RmaHold two = buffer.Hold();
        buffer.Dispose();
        one.Release();
        two.Release();
    }

    private static void ReleaseFromQuarantine(RmaBuffer buffer)
    {
        RmaHold hold = buffer.Hold();
        hold.Quarantine();
        buffer.Return();
        hold.Release();
    }

    private static void GiveBack(RmaBuffer buffer) => buffer.GiveBack();
}
