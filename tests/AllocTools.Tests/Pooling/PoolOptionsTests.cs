using AllocTools.Blocks;
using AllocTools.HostMemory;
using AllocTools.Interop;
using AllocTools.Regions;
using AllocTools.Validation;
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
        Assert.Equal(
            [
                "Access is 64; it is some of None, Local, RemoteRead, RemoteWrite.",
                "ClearOnReturn and PoisonOnReturn are both true; returned memory is filled with one or the other.",
                "DrainTimeout is -00:00:00.0010000; it is 0 to 24 hours.",
                "MaxRegisteredBytes is 12; it is 4096 to 1152921504606846976 bytes.",
                "MaxSlabBytes is 1; it is 65536 to 17179869184 bytes.",
                "RentTimeout is 2.00:00:00; it is 0 to 24 hours, or -00:00:00.001 for no limit.",
                "SizeClasses:0:BlockSize is 4096, more than MaxRegisteredBytes, 12; not one block fits.",
                "SizeClasses:1:BlockSize is 100, after 4096; size classes ascend, each size once.",
                "SizeClasses:1:BlockSize is 100, more than MaxRegisteredBytes, 12; not one block fits.",
                "SizeClasses:1:BlockSize is 100; it is 64 to 1073741824 bytes, a multiple of 64.",
                "SizeClasses:1:InitialBlocks is -1; it is 0 to 16777216 blocks.",
            ],
            error.Failures.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void AnEntryThatIsNullIsSaid()
    {
        var options = new RmaMemoryPoolOptions();
        options.SizeClasses.Add(null!);
        ValidateOptionsResult result = new RmaMemoryPoolOptionsValidator().Validate(null, options);
        Assert.Contains("SizeClasses has an entry that is null.", result.Failures!);
    }

    [Fact]
    public void WhatTheSystemCantGiveIsSaid()
    {
        var options = new RmaMemoryPoolOptions { MaxRegisteredBytes = 3 << 20, NumaNode = 7, HugePages = RmaHugePages.Explicit };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 1 << 20, InitialBlocks = 2 });
        var limits = new SystemLimits { Cgroup = new CgroupMemory(2 << 20, "/group/memory.max"), HugePageBytes = 1 << 20, HasNumaNode = _ => false };
        ValidateOptionsResult result = new RmaMemoryPoolOptionsValidator(() => limits).Validate(options, traits: null);
        Assert.Equal(
            [
                $"NumaNode is 7; this system has {NumaNodes.Describe()}.",
                "HugePages is Explicit, and 1048576 bytes of huge pages are reserved, for 2097152 bytes at start. Reserve more (sysctl vm.nr_hugepages=COUNT), or set HugePages to Transparent.",
                "MaxRegisteredBytes is 3145728, more than the control group's memory limit, 2097152 (/group/memory.max). Lower it, or raise the container's limit.",
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
                $"MaxRegisteredBytes is 50331649, and provider 'verbs;ofi_rxm' pins about 16777216 bytes besides; RLIMIT_MEMLOCK is 67108864 bytes. {MemoryLockLimit.HowToRaise}. Or lower it to 50331648.",
            ],
            result.Failures);
        Assert.True(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 48 << 20 }, limits, verbs).Succeeded);
        Assert.True(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 49 << 20 }, limits, verbs with { LocksPages = false }).Succeeded);
        Assert.True(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 49 << 20 }, limits with { MemoryLock = null }, verbs).Succeeded);
        // Nobody asked for the default: the pool grows as far as it can, and its log says so.
        Assert.True(Validate(new RmaMemoryPoolOptions(), limits, verbs).Succeeded);
        Assert.False(Validate(new RmaMemoryPoolOptions { MaxRegisteredBytes = 1 << 30 }, limits, verbs).Succeeded);

        static ValidateOptionsResult Validate(RmaMemoryPoolOptions options, SystemLimits limits, RmaProviderTraits traits) =>
            new RmaMemoryPoolOptionsValidator(() => limits).Validate(options, traits);
    }
}
