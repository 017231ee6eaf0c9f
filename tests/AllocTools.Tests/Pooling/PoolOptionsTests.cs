using AllocTools.Blocks;
using AllocTools.HostMemory;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests the validation of the options.</summary>
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
        Assert.Equal(
            [
                "Access is 64; it must be one or more of None, Local, RemoteRead, RemoteWrite.",
                "ClearOnReturn and PoisonOnReturn are both true; they must not both be.",
                "DrainTimeout is never; it must be between 0 and 24 hours.",
                "MaxRegisteredBytes is 12; it must be between 4,096 and 1,152,921,504,606,846,976 bytes (4 KiB and 1 EiB).",
                "MaxSlabBytes is 1; it must be between 65,536 and 17,179,869,184 bytes (64 KiB and 16 GiB).",
                "RentTimeout is 48 hours; it must be between 0 and 24 hours, or \"never\" for no limit.",
                "SizeClasses:0:BlockSize (4 KiB) must not be more than MaxRegisteredBytes (12 bytes): not one block would fit.",
                "SizeClasses:1:BlockSize (100 bytes) must be more than the one before it (4 KiB).",
                "SizeClasses:1:BlockSize (100 bytes) must not be more than MaxRegisteredBytes (12 bytes): not one block would fit.",
                "SizeClasses:1:BlockSize is 100; it must be between 64 and 1,073,741,824 bytes (64 bytes and 1 GiB), and a multiple of 64.",
                "SizeClasses:1:InitialBlocks is -1; it must be between 0 and 16,777,216 blocks.",
            ],
            error.Failures.Order(StringComparer.Ordinal));
    }

    /// <summary>An entry whose size could not be read has none: a single failure names it.</summary>
    [Fact]
    public void AnEntryWithoutASizeIsNotComparedWithOthers()
    {
        var options = new RmaMemoryPoolOptions();
        options.SizeClasses.Add(new SizeClassOptions());
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        Assert.Equal(
            ["SizeClasses:0:BlockSize is 0; it must be between 64 and 1,073,741,824 bytes (64 bytes and 1 GiB), and a multiple of 64."],
            new RmaMemoryPoolOptionsValidator().Validate(null, options).Failures);
    }

    [Fact]
    public void InitialBlocksMustFitTheCap()
    {
        var options = new RmaMemoryPoolOptions { MaxRegisteredBytes = 2 << 20 };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 1 << 20, InitialBlocks = 3 });
        Assert.Equal(
            ["SizeClasses has InitialBlocks of 3 MiB in all, which must not be more than MaxRegisteredBytes (2 MiB). Raise the cap, or lower InitialBlocks."],
            new RmaMemoryPoolOptionsValidator().Validate(null, options).Failures);
    }

    [Fact]
    public void AnEntryThatIsNullIsSaid()
    {
        var options = new RmaMemoryPoolOptions();
        options.SizeClasses.Add(null!);
        ValidateOptionsResult result = new RmaMemoryPoolOptionsValidator().Validate(null, options);
        Assert.Contains("SizeClasses has an entry that is null; each entry must be set.", result.Failures!);
    }

    [Fact]
    public void WhatTheSystemCantGiveIsSaid()
    {
        var options = new RmaMemoryPoolOptions { MaxRegisteredBytes = 3 << 20, NumaNode = 7, HugePages = RmaHugePages.Explicit };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 1 << 20, InitialBlocks = 2 });
        var limits = new SystemLimits { Cgroup = new CgroupMemory(2 << 20, 2 << 20, "/group/memory.max"), HugePageBytes = 1 << 20, HasNumaNode = _ => false };
        ValidateOptionsResult result = new RmaMemoryPoolOptionsValidator(() => limits).Validate(options, traits: null);
        Assert.Equal(
            [
                $"NumaNode is 7, but this system has no such node; it has {NumaNodes.Describe()}.",
                "HugePages is Explicit, but 1 MiB of huge pages are reserved, and 2 MiB are needed at the start. Reserve more (sysctl vm.nr_hugepages=COUNT), or set HugePages to Transparent.",
                "MaxRegisteredBytes is 3 MiB, but the control group's memory limit is 2 MiB (/group/memory.max). Lower MaxRegisteredBytes, or raise the container's limit.",
            ],
            result.Failures);
        Assert.True(new RmaMemoryPoolOptionsValidator(() => limits with { Cgroup = null, HugePageBytes = 2 << 20, HasNumaNode = n => n == 7 }).Validate(options, null).Succeeded);
    }

    [Fact]
    public void TheCapAndWhatTheTransportPinsFitTheLimitOfLockedMemory()
    {
        RmaProviderTraits verbs = new() { ProviderName = "verbs;ofi_rxm", LocksPages = true, TransportPinnedBytes = 16 << 20 };
        var limits = new SystemLimits { MemoryLock = 64 << 20 };
        ValidateOptionsResult result = Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = (48 << 20) + 1 }, limits, verbs);
        Assert.Equal(
            [
                $"MaxRegisteredBytes is 50,331,649 bytes and provider 'verbs;ofi_rxm' pins about 16 MiB in addition, but RLIMIT_MEMLOCK is 64 MiB (67,108,864 bytes). {MemoryLockLimit.HowToRaise()}. Or lower MaxRegisteredBytes to 48 MiB (50,331,648 bytes).",
            ],
            result.Failures);
        Assert.True(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 48 << 20 }, limits, verbs).Succeeded);
        Assert.True(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 49 << 20 }, limits, verbs with { LocksPages = false }).Succeeded);
        Assert.True(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 49 << 20 }, limits with { MemoryLock = null }, verbs).Succeeded);
        // The default is no explicit request: the pool grows as far as it can, and its log says so.
        Assert.True(Validate(new RmaMemoryPoolOptions(), limits, verbs).Succeeded);
        Assert.False(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 1 << 30 }, limits, verbs).Succeeded);

        static ValidateOptionsResult Validate(RmaMemoryPoolOptions options, SystemLimits limits, RmaProviderTraits traits) =>
            new RmaMemoryPoolOptionsValidator(() => limits).Validate(options, traits);
    }

    [Theory]
    [InlineData(8L << 40, 23L << 30, null, "MaxRegisteredBytes is 8 TiB, but this machine has 23 GiB of memory. Registered memory can't be paged out: lower MaxRegisteredBytes.")]
    [InlineData(200L << 20, 23L << 30, 150L << 20, "MaxRegisteredBytes is 200 MiB, but of the control group's memory limit, 256 MiB, only 150 MiB are left (/group/memory.max). Growth beyond that is refused.")]
    [InlineData(100L << 20, 23L << 30, 150L << 20, null)]
    [InlineData(8L << 30, 23L << 30, null, null)]
    public void ACapThatTheMachineOrTheGroupCantFillIsWarnedOf(long cap, long machine, long? available, string? expected)
    {
        var limits = new SystemLimits { MachineMemory = machine, Cgroup = available is { } left ? new CgroupMemory(256 << 20, left, "/group/memory.max") : null };
        var options = new RmaMemoryPoolOptions { MaxRegisteredBytes = cap };
        Assert.Equal(expected, SystemRules.Warning(options, null, limits));
        Assert.Empty(SystemRules.Failures(options, null, limits));
    }

    [Fact]
    public void ThisMachineSaysHowMuchMemoryItHas() => Assert.True(SystemLimits.Read().MachineMemory >= GC.GetGCMemoryInfo().TotalAvailableMemoryBytes);

    [Theory]
    [InlineData(1, "1 hour")]
    [InlineData(48, "48 hours")]
    public void TimesAreSaidInWords(int hours, string expected) => Assert.Equal(expected, InWords.Time(TimeSpan.FromHours(hours)));

    [Theory]
    [InlineData(0, "0 bytes")]
    [InlineData(1, "1 byte")]
    [InlineData(1023, "1,023 bytes")]
    [InlineData(67108864, "64 MiB (67,108,864 bytes)")]
    [InlineData(5000, "4.9 KiB (5,000 bytes)")]
    [InlineData(long.MaxValue, "8 EiB (9,223,372,036,854,775,807 bytes)")]
    public void SizesAreSaidInWords(long bytes, string expected) => Assert.Equal(expected, InWords.Size(bytes));

    [Theory]
    [InlineData(0, "0 misses")]
    [InlineData(1, "1 miss")]
    [InlineData(1024, "1,024 misses")]
    public void CountsAreSaidInWords(long count, string expected) => Assert.Equal(expected, InWords.Count(count, "miss", "misses"));
}
