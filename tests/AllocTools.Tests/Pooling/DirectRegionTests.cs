using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests requests that are larger than the largest class.</summary>
public sealed class DirectRegionTests
{
    [Fact]
    public async Task ADirectRegionAskedForAgainIsAHit()
    {
        await using var test = new TestPool();
        test.Pool.Rent(4 << 20).Dispose();
        test.Pool.Rent((4 << 20) - 5000).Dispose();
        RmaSizeClassStatistics direct = test.Statistics.SizeClasses.Single(c => c.Name == "direct");
        Assert.Equal(1, direct.Hits);
        Assert.Equal(1, direct.Misses);
        Assert.Equal(1, test.Statistics.Registrations);
        using RmaBuffer much = test.Pool.Rent(2 << 20);
        Assert.Equal(2 << 20, much.Capacity);
    }

    [Fact]
    public async Task IdleDirectRegionsStayUnderTheirLimitTheOldestGoFirst()
    {
        await using var test = new TestPool(o => o.MaxIdleDirectBytes = 5 << 20);
        RmaBuffer old = test.Pool.Rent(2 << 20);
        RmaBuffer young = test.Pool.Rent(4 << 20);
        old.Dispose();
        young.Dispose();
        RmaSizeClassStatistics direct = test.Statistics.SizeClasses.Single(c => c.Name == "direct");
        Assert.Equal(4 << 20, direct.RegisteredBytes);
        Assert.Equal(1, direct.IdleBuffers);
    }

    [Fact]
    public async Task LengthsOver4GiBAreNotCut()
    {
        // The memory is reserved and mapped, but not touched: only the statistics and the addresses are checked.
        await using var test = new TestPool(o => o.MaxRegisteredBytes = 16L << 30);
        const long Length = (5L << 30) + 12345;
        RmaBuffer buffer = test.Pool.Rent(Length);
        Assert.Equal(Length, buffer.Length);
        buffer.GetSpan(Length - 1, 1)[0] = 77;
        Assert.Equal(77, buffer.GetSpan(Length - 1, 1)[0]);
        Assert.Throws<InvalidOperationException>(() => _ = buffer.Span.Length);
        Assert.Equal(Length - 10, buffer.Slice(10, Length - 10).Length);
        buffer.Dispose();
    }
}
