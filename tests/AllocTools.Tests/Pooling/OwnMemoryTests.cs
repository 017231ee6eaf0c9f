using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>What the pool needs itself, on the managed heap.</summary>
[Collection(nameof(OwnMemoryTests))]
[CollectionDefinition(nameof(OwnMemoryTests), DisableParallelization = true)]
public sealed class OwnMemoryTests
{
    [Theory]
    [InlineData(4 << 10, 0.01)]
    [InlineData(16 << 10, 0.01)]
    [InlineData(64 << 10, 0.01)]
    [InlineData(1 << 20, 0.01)]
    public async Task ItIsASmallShareOfWhatIsRegistered(int blockSize, double most)
    {
        const int Registered = 64 << 20;
        await using var test = new TestPool(o => TestPool.Classes(blockSize)(o));
        RmaBuffer[] buffers = new RmaBuffer[Registered / blockSize];
        test.Pool.Rent(blockSize).Dispose();
        long before = HeapBytes();
        for (int i = 0; i < buffers.Length; i++)
            buffers[i] = test.Pool.Rent(blockSize);
        double share = (double)(HeapBytes() - before) / test.Statistics.RegisteredBytes;
        // The runtime's own garbage may go meanwhile, some KB: that is much less than what is looked for.
        Assert.InRange(share, -most / 10, most);
        foreach (RmaBuffer buffer in buffers)
            buffer.Dispose();
    }

    private static long HeapBytes()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }
}
