using AllocTools.Caching;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Caching;

/// <summary>
/// Tests registrations of callers' memory that are kept: what is found, what is registered, and what is evicted.
/// </summary>
public sealed class RegistrationCacheTests : CacheTest
{
    [Fact]
    public void TheSameMemoryIsRegisteredOnce()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        nint address;
        using (RmaBuffer first = cache.Register(array))
        {
            first.Span.Fill(3);
            address = first.Address;
            Assert.Equal(1000, first.Length);
        }
        Assert.Equal(3, array[999]);
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        using (RmaBuffer again = cache.Register(array))
            Assert.Equal(address, again.Address);
        // A part of the array.
        using (RmaBuffer part = cache.Register(array.AsMemory(100, 50)))
        {
            Assert.Equal((address + 100, 50L), (part.Address, part.Length));
            part.Span.Fill(4);
        }
        Assert.Equal((4, 3), (array[149], array[150]));
        Assert.Equal(1, Context.Registrations);
        RmaRegistrationCacheStatistics now = cache.GetStatistics();
        Assert.Equal((2, 1, 1, 1000), (now.Hits, now.Misses, now.Entries, now.RegisteredBytes));
        Assert.Equal((1, 1000, 0), (now.IdleEntries, now.IdleBytes, now.Leases));
        Test.CheckBooks();
    }

    [Fact]
    public void AWarmLeaseOfTheSameBytesAllocatesNothing()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        using (cache.Register(array))
            cache.Register(array).Dispose();
        ThreadAllocations allocations = new();
        for (int i = 0; i < 20; i++)
        {
            allocations.Begin();
            cache.Register(array).Dispose();
            // The same memory leased twice at a time.
            RmaBuffer one = cache.Register(array);
            cache.Register(array).Dispose();
            one.Dispose();
            allocations.End();
        }
        allocations.AssertNone();
    }

    [Fact]
    public void ALeaseEndsForAllItsCopiesAlsoWhereTheNextOneHasTheSameBytes()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        RmaBuffer old = cache.Register(array);
        old.Dispose();
        using RmaBuffer same = cache.Register(array);
        using RmaBuffer part = cache.Register(array.AsMemory(1));
        Assert.False(old.IsRented);
        Assert.Throws<InvalidOperationException>(() => old.Span.Length);
        Assert.Throws<InvalidOperationException>(old.Dispose);
        Assert.Throws<InvalidOperationException>(() => old.Expose(RmaAccess.RemoteRead));
        Assert.True(same.IsRented);
        Assert.True(part.IsRented);
        Assert.Equal(2, cache.GetStatistics().Leases);
    }

    [Fact]
    public void RangesThatOverlapAreRegisteredEachAndThoseThatOneCoversGo()
    {
        using RmaRegistrationCache cache = Cache();
        Memory<byte> array = GC.AllocateArray<byte>(1000, pinned: true);
        cache.Register(array[..400]).Dispose();
        cache.Register(array[300..700]).Dispose();
        cache.Register(array[700..800]).Dispose();
        Assert.Equal(3, Context.Registrations);
        // Each entry is found, even beside others that overlap it.
        foreach (Range range in new[] { ..1, 399..400, 300..400, 350..700, 699..700, 700..800 })
            cache.Register(array[range]).Dispose();
        Assert.Equal(3, Context.Registrations);
        // No entry covers a range that crosses a border.
        using (RmaBuffer inUse = cache.Register(array[300..700]))
        {
            cache.Register(array[250..750]).Dispose();
            Assert.Equal(4, Context.Registrations);
            Assert.Equal(4, Context.Live);
            Assert.Equal(1, cache.GetStatistics().Replacements);
            inUse.Span.Fill(1);
        }
        Assert.Equal(3, Context.Live);
        cache.Register(array[300..700]).Dispose();
        Assert.Equal(4, Context.Registrations);
        cache.Register(array).Dispose();
        Assert.Equal(1, Context.Live);
        Assert.Equal((1, 1000, 4), (cache.GetStatistics().Entries, cache.GetStatistics().RegisteredBytes, cache.GetStatistics().Replacements));
        Test.CheckBooks();
    }

    [Fact]
    public void TheOneThatWasUsedLeastRecentlyGoesFirstAndNoneThatIsInUse()
    {
        using RmaRegistrationCache cache = Cache(maxBytes: 300, maxEntries: 100);
        byte[][] arrays = [.. Enumerable.Range(0, 5).Select(_ => new byte[100])];
        using RmaBuffer inUse = cache.Register(arrays[0]);
        cache.Register(arrays[1]).Dispose();
        cache.Register(arrays[2]).Dispose();
        cache.Register(arrays[1]).Dispose();
        cache.Register(arrays[3]).Dispose();
        Assert.Equal(1, cache.GetStatistics().Evictions);
        int before = Context.Registrations;
        cache.Register(arrays[0]).Dispose();
        cache.Register(arrays[1]).Dispose();
        cache.Register(arrays[3]).Dispose();
        Assert.Equal(before, Context.Registrations);
        cache.Register(arrays[2]).Dispose();
        Assert.Equal(before + 1, Context.Registrations);
        Assert.Equal(300, cache.GetStatistics().RegisteredBytes);
        Assert.True(inUse.IsRented);
    }

    [Fact]
    public void TheNumberOfEntriesIsBoundedToo()
    {
        using RmaRegistrationCache cache = Cache(maxEntries: 2);
        byte[][] arrays = [.. Enumerable.Range(0, 4).Select(_ => new byte[10])];
        RmaBuffer[] buffers = [.. arrays.Select(a => cache.Register(a))];
        // Entries in use stay, whatever the limit.
        Assert.Equal(4, cache.GetStatistics().Entries);
        Array.ForEach(buffers, b => b.Dispose());
        Assert.Equal((2, 2), (cache.GetStatistics().Entries, cache.GetStatistics().Evictions));
        Assert.Equal(2, Context.Live);
    }

    [Fact]
    public void ARangeLongerThanTheLimitIsServedAndPushesOutNothing()
    {
        using RmaRegistrationCache cache = Cache(maxBytes: 1000);
        byte[] small = new byte[500];
        cache.Register(small).Dispose();
        byte[] large = new byte[2000];
        using (RmaBuffer buffer = cache.Register(large))
        using (RmaBuffer other = cache.Register(large.AsMemory(5)))
        {
            Assert.Equal(2, Context.Registrations);
            cache.Register(small).Dispose();
        }
        Assert.Equal((1, 0), (cache.GetStatistics().Entries, cache.GetStatistics().Evictions));
        Assert.Equal(2, Context.Registrations);
        using RmaRegistrationCache none = Cache(maxBytes: 0);
        none.Register(small).Dispose();
        Assert.Equal(0, none.GetStatistics().Entries);
    }

    [Fact]
    public async Task IdleRegistrationsGiveWayAtThePoolsCap()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 12288;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] kept = new byte[4096];
        byte[] idle = new byte[4096];
        using RmaBuffer inUse = cache.Register(kept);
        cache.Register(idle).Dispose();
        using RmaBuffer block = test.Pool.Rent(4096);
        Assert.Equal(12288, test.Statistics.RegisteredBytes);
        using (RmaBuffer second = test.Pool.Rent(4096))
            Assert.Equal((1, 1), (cache.GetStatistics().Entries, cache.GetStatistics().Reclaims));
        // Conversely, idle blocks make room for a registration.
        cache.Register(idle).Dispose();
        Assert.Equal(2, cache.GetStatistics().Entries);
        RmaBuffer third = cache.Register(idle);
        Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Rent(4096));
        // A waiter gets the memory that becomes free.
        Task<RmaBuffer> waiting = test.Pool.RentAsync(4096, Token).AsTask();
        Assert.False(waiting.IsCompleted);
        third.Dispose();
        (await waiting.WaitAsync(TestTime.Seconds(30), Token)).Dispose();
        test.CheckBooks();
    }

    [Fact]
    public void WhatIsIdleForLongIsGivenBack()
    {
        using RmaRegistrationCache cache = Cache();
        cache.Register(new byte[100]).Dispose();
        using RmaBuffer inUse = cache.Register(new byte[100]);
        // The first check marks idle entries.
        Test.Pool.Trim(0);
        Test.Pool.Trim(long.MaxValue - 1);
        Assert.Equal((1, 1), (Context.Live, cache.GetStatistics().Trims));
    }

    [Fact]
    public void WhatIsReplacedIsDeregisteredBeforeTheNewOneIsRegistered()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        cache.Register(array.AsMemory(0, 500)).Dispose();
        List<int> live = [];
        Context.BeforeRegister = (_, _) => live.Add(Context.Live);
        cache.Register(array).Dispose();
        cache.Register(AddressOf(array), 1000).Dispose();
        Assert.Equal([0, 0], live);
    }

    [Fact]
    public void WhatDoesNotStayPushesOutNothing()
    {
        using RmaRegistrationCache cache = Cache(maxBytes: 1000);
        byte[] array = new byte[2000];
        cache.Register(array.AsMemory(0, 500)).Dispose();
        cache.Register(array).Dispose();
        cache.Register(array.AsMemory(0, 500)).Dispose();
        Assert.Equal((2, 0), (Context.Registrations, cache.GetStatistics().Replacements));
        Assert.Equal((1, 500), (cache.GetStatistics().Entries, cache.GetStatistics().RegisteredBytes));
    }

    [Fact]
    public async Task WhatIsLeasedIsNotTakenForIdleWhereTheClockStandsAtZero()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context, time: new ClockAtZero());
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] array = new byte[100];
        cache.Register(array).Dispose();
        // This records since when the entry has been idle.
        test.Pool.Trim(-1);
        Assert.Equal(1, cache.GetStatistics().IdleEntries);
        using RmaBuffer leased = cache.Register(array);
        Assert.Equal(0, cache.GetStatistics().IdleEntries);
        test.Pool.Trim(long.MaxValue - 1);
        Assert.Equal(1, context.Live);
        leased.Span.Fill(1);
    }

    /// <summary>A clock that never advances.</summary>
    private sealed class ClockAtZero : TimeProvider
    {
        public override long GetTimestamp() => 0;
    }
}
