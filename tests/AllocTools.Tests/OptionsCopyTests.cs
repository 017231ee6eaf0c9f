using System.Collections;
using System.Reflection;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Tests that objects created with options don't change when the caller's options object does.</summary>
public sealed class OptionsCopyTests
{
    [Fact]
    public void APoolKeepsItsOptionsWhenTheCallersChange()
    {
        var options = new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero };
        options.SizeClasses.Add(new() { BlockSize = 4096 });
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, options);
        options.SizeClasses[0].BlockSize = 8192;
        options.SizeClasses.Clear();
        pool.Options.SizeClasses[0].BlockSize = 64;
        pool.Options.RentTimeout = TimeSpan.Zero;
        Assert.Equal((4096, TimeSpan.FromSeconds(30)), (Assert.Single(pool.Options.SizeClasses).BlockSize, pool.Options.RentTimeout));

        var next = new RmaMemoryPoolOptions { MaxRegisteredBytes = 2 << 20 };
        pool.Reconfigure(next);
        next.MaxRegisteredBytes = 4 << 20;
        Assert.Equal((2 << 20, 4096), (pool.Options.MaxRegisteredBytes, Assert.Single(pool.Options.SizeClasses).BlockSize));
    }

    [Fact]
    public void ACopyOfAPoolsOptionsIsEqualAndSharesNothing()
    {
        var options = new RmaMemoryPoolOptions { SizeClassRange = new() { From = 512 }, MaxRegisteredBytes = 12, NumaNode = 3 };
        options.SizeClasses.Add(new() { BlockSize = 4096, InitialBlocks = 2 });
        AssertCopy(options, options.Copy());
    }

    [Fact]
    public void ACopyOfLibfabricsOptionsIsEqualAndSharesNothing()
    {
        var options = new LibfabricOptions { Provider = "shm", Access = RmaAccess.Local };
        options.Settings["FI_UNIVERSE_SIZE"] = "7";
        options.Endpoint.MaxOutstanding = 5;
        AssertCopy(options, options.Copy());
    }

    private static void AssertCopy(object expected, object actual)
    {
        Assert.NotSame(expected, actual);
        if (expected is IEnumerable entries)
        {
            object[] copied = [.. ((IEnumerable)actual).Cast<object>()];
            object[] originals = [.. entries.Cast<object>()];
            Assert.NotEmpty(originals);
            Assert.Equal(originals.Length, copied.Length);
            foreach ((object original, object copy) in originals.Zip(copied))
                AssertValue(original, copy);
            return;
        }
        foreach (PropertyInfo property in expected.GetType().GetProperties())
            AssertValue(property.GetValue(expected), property.GetValue(actual));
    }

    private static void AssertValue(object? expected, object? actual)
    {
        if (expected is null or string or ValueType)
            Assert.Equal(expected, actual);
        else
            AssertCopy(expected, actual!);
    }
}
