using AllocTools.HostMemory;
using AllocTools.Regions;
using WorkerService.Protocol;
using WorkerService.Transfer;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>The receiver's slots, filled by a sender in whatever way it likes.</summary>
public sealed class ReceiveWindowTests : IDisposable
{
    private const int SlotLength = 4096;

    private readonly IRmaContext _context = new HostProvider().Open();
    private readonly RmaMemoryPool<HostProvider> _pool;

    public ReceiveWindowTests() => _pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });

    public void Dispose()
    {
        Assert.Equal(0, _pool.GetStatistics().RentedBuffers);
        _pool.Dispose();
        _context.Dispose();
    }

    [Fact]
    public async Task AsManySlotsAreOpenAsTheFileNeedsAndNoMore()
    {
        using var small = new ReceiveWindow(_pool, 4, SlotLength, SlotLength + 1);
        Assert.Equal(2, (await OpenAllAsync(small)).Count);
        using var large = new ReceiveWindow(_pool, 4, SlotLength, 100 * SlotLength);
        Assert.Equal(4, (await OpenAllAsync(large)).Count);
        using var empty = new ReceiveWindow(_pool, 4, SlotLength, 0);
        Assert.Empty(await OpenAllAsync(empty));
    }

    [Fact]
    public async Task ChunksThatArriveOutOfOrderAreTakenInOrder()
    {
        using var window = new ReceiveWindow(_pool, 3, SlotLength, 3 * SlotLength);
        await OpenAllAsync(window);
        window.Fill(new ChunkMessage(0, 2 * SlotLength, SlotLength));
        Assert.False(window.TryTakeNext(out _, out _));
        window.Fill(new ChunkMessage(2, SlotLength, SlotLength));
        Assert.False(window.TryTakeNext(out _, out _));
        window.Fill(new ChunkMessage(1, 0, SlotLength));
        for (int i = 1; i <= 3; i++)
        {
            Assert.True(window.TryTakeNext(out RmaBuffer buffer, out int length));
            buffer.Dispose();
            Assert.Equal(SlotLength, length);
            Assert.Equal(i * SlotLength, window.Position);
        }
        Assert.Empty(await OpenAllAsync(window));
    }

    [Fact]
    public async Task ShortChunksOnlyMeanMoreOfThem()
    {
        using var window = new ReceiveWindow(_pool, 2, SlotLength, 100);
        for (int i = 0; i < 100; i++)
        {
            GrantMessage grant = Assert.Single(await OpenAllAsync(window));
            window.Fill(new ChunkMessage(grant.Slot, i, 1));
            Assert.True(window.TryTakeNext(out RmaBuffer buffer, out _));
            buffer.Dispose();
        }
        Assert.Equal(100, window.Position);
        Assert.Empty(await OpenAllAsync(window));
    }

    [Theory]
    [InlineData(4, 0, 1)]
    [InlineData(int.MaxValue, 0, 1)]
    [InlineData(0, 0, SlotLength + 1)]
    [InlineData(0, 0, int.MaxValue)]
    [InlineData(0, 10 * SlotLength, 1)]
    [InlineData(0, 10 * SlotLength - 1, 2)]
    [InlineData(0, long.MaxValue, SlotLength)]
    public async Task AChunkThatCannotBeIsRefused(int slot, long offset, int length)
    {
        using var window = new ReceiveWindow(_pool, 4, SlotLength, 10 * SlotLength);
        await OpenAllAsync(window);
        Assert.Throws<TransferException>(() => window.Fill(new ChunkMessage(slot, offset, length)));
    }

    [Fact]
    public async Task ASlotIsFilledOnceAndAnOffsetTakenOnce()
    {
        using var window = new ReceiveWindow(_pool, 4, SlotLength, 10 * SlotLength);
        await OpenAllAsync(window);
        window.Fill(new ChunkMessage(0, SlotLength, 1));
        Assert.Throws<TransferException>(() => window.Fill(new ChunkMessage(0, 0, 1)));
        Assert.Throws<TransferException>(() => window.Fill(new ChunkMessage(1, SlotLength, 2)));
        window.Fill(new ChunkMessage(2, 0, 1));
        Assert.True(window.TryTakeNext(out RmaBuffer buffer, out _));
        buffer.Dispose();
        Assert.Throws<TransferException>(() => window.Fill(new ChunkMessage(3, 0, 1)));
    }

    [Fact]
    public async Task AGapThatNoSlotIsLeftForIsRefused()
    {
        using var window = new ReceiveWindow(_pool, 2, SlotLength, 10 * SlotLength);
        await OpenAllAsync(window);
        window.Fill(new ChunkMessage(0, 5000, 100));
        Assert.False(window.TryTakeNext(out _, out _));
        Assert.Empty(await OpenAllAsync(window));
        window.Fill(new ChunkMessage(1, 6000, 100));
        Assert.Throws<TransferException>(() => window.TryTakeNext(out _, out _));
    }

    private static async Task<List<GrantMessage>> OpenAllAsync(ReceiveWindow window)
    {
        List<GrantMessage> grants = [];
        while (await window.TryOpenAsync(CancellationToken.None) is { } grant)
            grants.Add(grant);
        return grants;
    }
}
