using AllocTools.Caching;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Tests.Caching;

/// <summary>Tests caches and pools that are closed, and providers that refuse: nothing is left behind.</summary>
public sealed class CacheRefusalTests : CacheTest
{
    [Fact]
    public void AClosedCacheGivesBackWhatIsIdleNowAndTheRestLater()
    {
        RmaRegistrationCache cache = Cache();
        cache.Register(new byte[100]).Dispose();
        RmaBuffer inUse = cache.Register(new byte[100]);
        cache.Dispose();
        cache.Dispose();
        Assert.Equal(1, Context.Live);
        Assert.Throws<ObjectDisposedException>(() => cache.Register(new byte[1]));
        Assert.Equal(100, Test.Statistics.SizeClasses.Single(c => c.Name == "cached").RegisteredBytes);
        inUse.Span.Fill(1);
        inUse.Dispose();
        Assert.Equal(0, Context.Live);
        Assert.DoesNotContain(Test.Statistics.SizeClasses, c => c.Name == "cached");
        Assert.Equal((2, 0), (Test.Statistics.RegistrationCache!.Misses, Test.Statistics.RegistrationCache.Entries));
    }

    [Fact]
    public async Task APoolThatIsClosedTakesItsCachesAlong()
    {
        using RmaRegistrationCache cache = Cache();
        cache.Register(new byte[100]).Dispose();
        RmaBuffer inUse = cache.Register(new byte[100]);
        Assert.False(await Test.Pool.DrainAsync(TimeSpan.Zero, Token));
        Assert.Throws<ObjectDisposedException>(() => cache.Register(new byte[1]));
        await Test.Pool.DisposeAsync();
        Assert.Equal(1, Context.Live);
        inUse.Dispose();
        Assert.Equal(0, Context.Live);
        Assert.Equal(1, Test.Statistics.LateReturns);
        Assert.Throws<ObjectDisposedException>(() => new RmaRegistrationCache(Test.Pool));
    }

    [Fact]
    public void ARefusalLeavesNothing()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[100];
        Context.BeforeRegister = (_, length) => throw CountingContext.Refusal(length);
        Assert.Throws<RmaRegistrationException>(() => cache.Register(array));
        Assert.Equal((0, 0, 1), (cache.GetStatistics().Entries, Test.Statistics.RegisteredBytes, cache.GetStatistics().Misses));
        Context.BeforeRegister = null;
        cache.Register(array).Dispose();
        Assert.Equal(1, cache.GetStatistics().Entries);
    }

    /// <summary>MPI behaves like this: its windows can't contain the same memory twice.</summary>
    [Fact]
    public void WhatIsIdleGivesWayWhereAProviderTakesNoMemoryTwice()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        RmaBuffer part = cache.Register(array.AsMemory(0, 500));
        cache.Register(array.AsMemory(400, 200)).Dispose();
        Context.BeforeRegister = (_, length) =>
        {
            if (Context.Live != 0)
                throw CountingContext.Refusal(length);
        };
        // An entry that is in use stays, and the request is refused.
        Assert.Throws<RmaRegistrationException>(() => cache.Register(array));
        part.Dispose();
        cache.Register(array).Dispose();
        Assert.Equal((1, 1000), (cache.GetStatistics().Entries, cache.GetStatistics().RegisteredBytes));
        Assert.Equal(1, Context.Live);
    }

    [Fact]
    public void WhatCanNotBeRegisteredIsRefusedByTheCallersParameter()
    {
        using RmaRegistrationCache cache = Cache();
        Assert.Equal("memory", Assert.Throws<ArgumentOutOfRangeException>(() => cache.Register(Memory<byte>.Empty)).ParamName);
        Assert.Equal("address", Assert.Throws<ArgumentOutOfRangeException>(() => cache.Register(0, 1)).ParamName);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => cache.Register(4096, 0)).ParamName);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => cache.Register(4096, long.MaxValue)).ParamName);
        // Nothing is ever mapped there (vm.mmap_min_addr).
        Assert.Equal("EFAULT", Assert.Throws<RmaRegistrationException>(() => cache.Register(4096, 10)).ErrorName);
        Assert.Throws<OptionsValidationException>(() => Cache(maxEntries: 0));
        Assert.Throws<OptionsValidationException>(() => Cache(maxBytes: -1));
        Assert.Equal(0, cache.GetStatistics().Entries);
    }

    [Fact]
    public async Task IdleRegistrationsGiveWayWhereTheProviderTakesNoMore()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context, TestPool.Classes(4096));
        using var cache = new RmaRegistrationCache(test.Pool);
        context.BeforeRegister = (_, length) =>
        {
            if (context.Live == 2)
                throw CountingContext.Refusal(length);
        };
        byte[] first = new byte[100_000];
        byte[] second = new byte[100_000];
        cache.Register(first).Dispose();
        cache.Register(second).Dispose();
        using RmaBuffer block = test.Pool.Rent(4096);
        Assert.InRange(cache.GetStatistics().Reclaims, 1, 2);
        using RmaBuffer inUse = cache.Register(first);
        Assert.Equal(2, context.Live);
        // Nothing is idle.
        Assert.Throws<RmaRegistrationException>(() => cache.Register(second));
        test.CheckBooks();
    }

    [Fact]
    public void ACacheThatIsClosedWhileARegistrationFailsIsForgotten()
    {
        RmaRegistrationCache cache = Cache();
        Context.BeforeRegister = (_, length) =>
        {
            cache.Dispose();
            throw CountingContext.Refusal(length);
        };
        Assert.Throws<RmaRegistrationException>(() => cache.Register(new byte[100]));
        Assert.DoesNotContain(Test.Statistics.SizeClasses, c => c.Name == "cached");
    }
}
