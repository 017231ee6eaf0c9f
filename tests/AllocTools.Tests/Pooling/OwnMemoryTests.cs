using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests how much memory the pool itself needs on the managed heap.</summary>
[Collection(nameof(OwnMemoryTests))]
[CollectionDefinition(nameof(OwnMemoryTests), DisableParallelization = true)]
public sealed class OwnMemoryTests
{
    /// <remarks>
    /// The allocations of the growing thread are counted, including garbage: the heap itself also shrinks by what other
    /// tests left.
    /// </remarks>
    [Theory]
    [InlineData(4 << 10, 0.01)]
    [InlineData(16 << 10, 0.01)]
    [InlineData(64 << 10, 0.01)]
    [InlineData(1 << 20, 0.01)]
    public async Task ItIsASmallShareOfWhatIsRegistered(int blockSize, double most)
    {
        const int Registered = 64 << 20;
        RmaBuffer[] buffers = new RmaBuffer[Registered / blockSize];
        ThreadAllocations allocations = new();
        for (int round = 0; round < 5; round++)
        {
            await using var test = new TestPool(o => TestPool.Classes(blockSize)(o));
            test.Pool.Rent(blockSize).Dispose();
            allocations.Begin();
            for (int i = 0; i < buffers.Length; i++)
                buffers[i] = test.Pool.Rent(blockSize);
            allocations.End();
            foreach (RmaBuffer buffer in buffers)
                buffer.Dispose();
        }
        Assert.InRange(allocations.BytesPerRound, 1, most * Registered);
    }
}
