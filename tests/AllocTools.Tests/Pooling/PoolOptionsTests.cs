using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>The rules of the options.</summary>
public sealed class PoolOptionsTests
{
    [Fact]
    public void InvalidOptionsAreAllNamedAtOnce()
    {
        var options = new RmaMemoryPoolOptions
        {
            MaxRegisteredBytes = 12,
            MaxSlabBytes = 1,
            RentTimeout = TimeSpan.FromDays(2),
            DrainTimeout = Timeout.InfiniteTimeSpan,
            ClearOnReturn = true,
            PoisonOnReturn = true,
            Access = (RmaAccess)64,
        };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 100, InitialBlocks = -1 });
        using IRmaContext context = new HostProvider().Open();
        OptionsValidationException error = Assert.Throws<OptionsValidationException>(() => new RmaMemoryPool<HostProvider>(context, options));
        string all = string.Join('\n', error.Failures);
        Assert.Contains("MaxRegisteredBytes is 12", all, StringComparison.Ordinal);
        Assert.Contains("MaxSlabBytes is 1;", all, StringComparison.Ordinal);
        Assert.Contains("RentTimeout is 2.00:00:00", all, StringComparison.Ordinal);
        Assert.Contains("DrainTimeout", all, StringComparison.Ordinal);
        Assert.Contains("ClearOnReturn and PoisonOnReturn", all, StringComparison.Ordinal);
        Assert.Contains("Access is 64", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:1:BlockSize is 100, after 4096", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:1:BlockSize is 100; it is a multiple of 64", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:1:InitialBlocks is -1", all, StringComparison.Ordinal);
        Assert.Contains("SizeClasses:0:BlockSize is 4096, more than MaxRegisteredBytes", all, StringComparison.Ordinal);
    }
}
