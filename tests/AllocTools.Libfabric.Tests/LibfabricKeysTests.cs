using System.Numerics;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class LibfabricKeysTests
{
    private const int Count = 100_000;

    /// <summary>The number of standard deviations from even that has a chance of 1 in 10^9.</summary>
    private const double Deviations = 6.1;

    public static TheoryData<int> WideEnough => [3, 4, 5, 6, 7, 8];

    [Theory]
    [MemberData(nameof(WideEnough))]
    public void AHundredThousandKeysHaveNoRepeatAndNoPattern(int keySize)
    {
        ulong[] keys = Take(new LibfabricKeys(keySize), Count);
        int bits = 8 * keySize;
        Assert.All(keys, k => Assert.True(k >= 100 && k != FiConstants.FI_KEY_NOTAVAIL && (bits == 64 || k >> bits == 0)));
        Assert.Equal(Count, keys.Distinct().Count());
        ulong[] steps = [.. keys.Zip(keys.Skip(1), (a, b) => a ^ b)];
        Assert.True(steps.Length - steps.Distinct().Count() <= ExpectedRepeats(steps.Length, bits), "two keys in a row tell the next");
        for (int bit = 0; bit < bits; bit++)
        {
            // Each bit is 1 as often as 0, changes as often as not, and doesn't predict the next one.
            AssertEven(keys.Count(k => IsSet(k, bit)), Count);
            AssertEven(steps.Count(s => IsSet(s, bit)), steps.Length);
            int other = (bit + 1) % bits;
            AssertEven(keys.Count(k => IsSet(k, bit) == IsSet(k, other)), Count);
        }
        AssertEven(keys.Zip(keys.Skip(1)).Count(p => p.First < p.Second), Count);
        Assert.Equal(bits / 2.0, keys.Average(BitOperations.PopCount), 0.1);
    }

    [Fact]
    public void EachContextHasAnOrderOfItsOwn()
    {
        ulong[] left = Take(new LibfabricKeys(4), 1000);
        ulong[] right = Take(new LibfabricKeys(4), 1000);
        Assert.True(left.Intersect(right).Count() < 3);
    }

    [Theory]
    [InlineData(1, 256)]
    [InlineData(2, 65_536 - 100)]
    public void NarrowKeysAreAllUsedAndUsedAgain(int keySize, int all)
    {
        LibfabricKeys keys = new(keySize);
        ulong[] taken = Take(keys, all);
        Assert.Equal(all, taken.Distinct().Count());
        Assert.False(keys.TryTake(out _));
        keys.Release(taken[17]);
        Assert.True(keys.TryTake(out ulong again));
        Assert.Equal(taken[17], again);
        Assert.False(keys.TryTake(out _));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void AKeyComesBackOnlyAfterAllOthers(int keySize)
    {
        LibfabricKeys keys = new(keySize);
        int all = (1 << (8 * keySize)) - (keySize == 1 ? 0 : 100);
        HashSet<ulong> seen = [];
        for (int i = 0; i < all; i++)
        {
            Assert.True(keys.TryTake(out ulong key));
            Assert.True(seen.Add(key));
            keys.Release(key);
        }
        Assert.True(keys.TryTake(out ulong first));
        Assert.Contains(first, seen);
    }

    private static ulong[] Take(LibfabricKeys keys, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => keys.TryTake(out ulong key) ? key : throw new InvalidOperationException("no key left"))];

    private static bool IsSet(ulong number, int bit) => (number >> bit & 1) != 0;

    private static void AssertEven(int hits, int of) =>
        Assert.InRange(hits, (of / 2.0) - (Deviations * Math.Sqrt(of) / 2), (of / 2.0) + (Deviations * Math.Sqrt(of) / 2));

    /// <summary>Returns how many of a number of random numbers repeat another one, with the same margin.</summary>
    private static double ExpectedRepeats(int count, int bits)
    {
        double expected = (double)count * count / 2 / Math.Pow(2, bits);
        return expected + (Deviations * Math.Sqrt(expected)) + 1;
    }
}
