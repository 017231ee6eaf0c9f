using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Tests;

public sealed class SizeClassRangeTests
{
    [Fact]
    public void FourStepsADoublingWasteLessThanAFifth()
    {
        IReadOnlyList<SizeClassOptions> classes = new SizeClassRangeOptions { From = 256, To = 4 << 20, StepsPerDoubling = 4 }.ToSizeClasses();
        Assert.Equal([256, 320, 384, 448, 512, 640], classes.Take(6).Select(c => c.BlockSize));
        Assert.Equal(4 << 20, classes[^1].BlockSize);
        Assert.Equal(14 * 4 + 1, classes.Count);
        for (int i = 1; i < classes.Count; i++)
        {
            // The request that wastes most of a block is one byte longer than the next smaller block.
            long waste = classes[i].BlockSize - (classes[i - 1].BlockSize + 1);
            Assert.True(waste < 0.2 * classes[i].BlockSize, $"{waste} of {classes[i].BlockSize}");
        }
    }

    [Theory]
    [InlineData(64, 1 << 20, 8)]
    [InlineData(192, 100_000, 3)]
    [InlineData(64, 64, 4)]
    [InlineData(1 << 30, 1 << 30, 1)]
    public async Task AnyRangeMakesClassesThatAPoolTakes(long from, long to, int steps)
    {
        await using var test = new TestPool(o => o.SizeClassRange = new SizeClassRangeOptions { From = from, To = to, StepsPerDoubling = steps });
        RmaSizeClassStatistics[] classes = [.. test.Statistics.SizeClasses.Where(c => c.BlockSize > 0 && long.TryParse(c.Name, out _))];
        Assert.Equal(from, classes[0].BlockSize);
        Assert.All(classes, c => Assert.Equal(0, c.BlockSize % 64));
        Assert.True(classes[^1].BlockSize <= to);
        Assert.Equal(classes.OrderBy(c => c.BlockSize).DistinctBy(c => c.BlockSize), classes);
    }

    [Fact]
    public void WhatIsOutOfRangeIsSaidAtOnce()
    {
        var options = new RmaMemoryPoolOptions
        {
            SizeClassRange = new SizeClassRangeOptions { From = 100, To = 50, StepsPerDoubling = 9 },
            HugePages = (RmaHugePages)7,
            NumaNode = 5000,
        };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 1024 });
        ValidateOptionsResult result = new RmaMemoryPoolOptionsValidator().Validate(null, options);
        Assert.Equal(
            [
                "SizeClassRange:From is 100; it must be between 64 and 1,073,741,824 bytes (64 bytes and 1 GiB), and a multiple of 64.",
                "SizeClassRange:To is 50; it must be between 64 and 1,073,741,824 bytes (64 bytes and 1 GiB).",
                "SizeClassRange:StepsPerDoubling is 9; it must be between 1 and 8 steps.",
                "HugePages is 7; it must be one of Transparent, Off, Explicit.",
                "NumaNode is 5,000; it must be between 0 and 1,023, or -1 for any node.",
                "SizeClasses has 1 entry and SizeClassRange is set; they must not both be used.",
                "SizeClassRange:To (50 bytes) must not be less than SizeClassRange:From (100 bytes).",
            ],
            result.Failures);
    }
}
