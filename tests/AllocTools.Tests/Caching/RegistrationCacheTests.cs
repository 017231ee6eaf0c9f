using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using AllocTools.Caching;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Tests.Caching;

/// <summary>Registrations of callers' memory that stay: what is found, what is registered, and what goes.</summary>
public sealed class RegistrationCacheTests : IAsyncDisposable
{
    private readonly CountingContext _context = new();
    private readonly TestPool _test;

    public RegistrationCacheTests() => _test = new TestPool(_context, o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _test.DisposeAsync();
        Assert.Equal(0, _context.Live);
        Assert.Equal(0, _test.Statistics.RegisteredBytes);
    }

    private RmaRegistrationCache Cache(long maxBytes = 1 << 20, int maxEntries = 100) =>
        new(_test.Pool, new RmaRegistrationCacheOptions { MaxBytes = maxBytes, MaxEntries = maxEntries });

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
        // A part of it.
        using (RmaBuffer part = cache.Register(array.AsMemory(100, 50)))
        {
            Assert.Equal((address + 100, 50L), (part.Address, part.Length));
            part.Span.Fill(4);
        }
        Assert.Equal((4, 3), (array[149], array[150]));
        Assert.Equal(1, _context.Registrations);
        RmaRegistrationCacheStatistics now = cache.GetStatistics();
        Assert.Equal((2, 1, 1, 1000), (now.Hits, now.Misses, now.Entries, now.RegisteredBytes));
        Assert.Equal((1, 1000, 0), (now.IdleEntries, now.IdleBytes, now.Leases));
        _test.CheckBooks();
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
            // And two at the same time.
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
        Assert.Equal(3, _context.Registrations);
        // Each is found, also beside others that overlap it.
        foreach (Range range in new[] { ..1, 399..400, 300..400, 350..700, 699..700, 700..800 })
            cache.Register(array[range]).Dispose();
        Assert.Equal(3, _context.Registrations);
        // Over a border none covers it.
        using (RmaBuffer inUse = cache.Register(array[300..700]))
        {
            cache.Register(array[250..750]).Dispose();
            Assert.Equal(4, _context.Registrations);
            Assert.Equal(4, _context.Live);
            Assert.Equal(1, cache.GetStatistics().Replacements);
            inUse.Span.Fill(1);
        }
        Assert.Equal(3, _context.Live);
        cache.Register(array[300..700]).Dispose();
        Assert.Equal(4, _context.Registrations);
        cache.Register(array).Dispose();
        Assert.Equal(1, _context.Live);
        Assert.Equal((1, 1000, 4), (cache.GetStatistics().Entries, cache.GetStatistics().RegisteredBytes, cache.GetStatistics().Replacements));
        _test.CheckBooks();
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
        int before = _context.Registrations;
        cache.Register(arrays[0]).Dispose();
        cache.Register(arrays[1]).Dispose();
        cache.Register(arrays[3]).Dispose();
        Assert.Equal(before, _context.Registrations);
        cache.Register(arrays[2]).Dispose();
        Assert.Equal(before + 1, _context.Registrations);
        Assert.Equal(300, cache.GetStatistics().RegisteredBytes);
        Assert.True(inUse.IsRented);
    }

    [Fact]
    public void TheNumberOfEntriesIsBoundedToo()
    {
        using RmaRegistrationCache cache = Cache(maxEntries: 2);
        byte[][] arrays = [.. Enumerable.Range(0, 4).Select(_ => new byte[10])];
        RmaBuffer[] buffers = [.. arrays.Select(a => cache.Register(a))];
        // What is in use stays, whatever the limit.
        Assert.Equal(4, cache.GetStatistics().Entries);
        Array.ForEach(buffers, b => b.Dispose());
        Assert.Equal((2, 2), (cache.GetStatistics().Entries, cache.GetStatistics().Evictions));
        Assert.Equal(2, _context.Live);
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
            Assert.Equal(2, _context.Registrations);
            cache.Register(small).Dispose();
        }
        Assert.Equal((1, 0), (cache.GetStatistics().Entries, cache.GetStatistics().Evictions));
        Assert.Equal(2, _context.Registrations);
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
        // And the other way round, idle blocks make room for a registration.
        cache.Register(idle).Dispose();
        Assert.Equal(2, cache.GetStatistics().Entries);
        RmaBuffer third = cache.Register(idle);
        Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Rent(4096));
        // A waiter gets what comes free.
        Task<RmaBuffer> waiting = test.Pool.RentAsync(4096, Token).AsTask();
        Assert.False(waiting.IsCompleted);
        third.Dispose();
        (await waiting.WaitAsync(TestTime.Seconds(30), Token)).Dispose();
        test.CheckBooks();
    }

    [Fact]
    public unsafe void NativeMemoryIsFoundUntilItsOwnerSaysThatItGoes()
    {
        using RmaRegistrationCache cache = Cache();
        nint memory = (nint)NativeMemory.AlignedAlloc(8192, 4096);
        cache.Register(memory, 8192).Dispose();
        using (RmaBuffer part = cache.Register(memory + 100, 4000))
            part.Span.Fill(1);
        Assert.Equal(1, _context.Registrations);
        Assert.True(cache.Invalidate(memory + 8192, 100));
        Assert.Equal(1, _context.Live);
        Assert.True(cache.Invalidate(memory + 8191, 1));
        Assert.Equal((0, 1), (_context.Live, cache.GetStatistics().Invalidations));
        cache.Register(memory, 8192).Dispose();
        Assert.Equal(2, _context.Registrations);
        Assert.True(cache.Invalidate(memory, 8192));
        NativeMemory.AlignedFree((void*)memory);
        Assert.True(cache.Invalidate(memory, 0));
    }

    [Fact]
    public async Task MemoryInUseGoesWithItsLastBuffer()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = GC.AllocateArray<byte>(1000, pinned: true);
        Memory<byte> memory = MemoryMarshal.CreateFromPinnedArray(array, 0, 1000);
        RmaBuffer buffer = cache.Register(memory);
        RmaExposure exposure = buffer.Expose(RmaAccess.RemoteRead);
        Assert.False(cache.Invalidate(memory));
        Task gone = cache.InvalidateAsync(buffer.Address, 10, Token);
        // It is found no longer, though it is in use.
        cache.Register(memory).Dispose();
        Assert.Equal((2, 2), (_context.Registrations, _context.Live));
        buffer.Dispose();
        // The exposure still holds it.
        Assert.False(gone.IsCompleted);
        Assert.Equal(2, _context.Live);
        exposure.Dispose();
        await gone.WaitAsync(TestTime.Seconds(30), Token);
        Assert.Equal(1, _context.Live);
        Assert.True(cache.Invalidate(memory));
        Assert.Equal(0, _context.Live);
    }

    [Fact]
    public async Task AnOwnerIsToldThatItsMemoryMustStay()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] array = new byte[100];
        RmaBuffer buffer = cache.Register(array);
        Task gone = cache.InvalidateAsync(buffer.Address, 1, Token);
        context.FailDeregister = true;
        buffer.Dispose();
        Assert.True((await Assert.ThrowsAsync<RmaRegistrationException>(() => gone)).IsStillRegistered);
        Assert.True(Assert.Throws<RmaRegistrationException>(() => cache.Invalidate(array)).IsStillRegistered);
        Assert.Equal(100, test.Statistics.StrandedBytes);
    }

    [Fact]
    public void WhatIsReadOnlyToTheCallerIsWrittenByNobody()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[100];
        using RmaBuffer writable = cache.Register(array);
        using RmaBuffer readOnly = cache.RegisterReadOnly(array);
        Assert.Equal(1, _context.Registrations);
        using RmaExposure exposure = writable.Expose(RmaAccess.RemoteWrite);
        using RmaExposure read = readOnly.Expose(RmaAccess.RemoteRead);
        Assert.Equal("EACCES", Assert.Throws<RmaRegistrationException>(() => readOnly.Expose(RmaAccess.RemoteWrite)).ErrorName);
        using IRmaEndpoint endpoint = _context.OpenEndpoint();
        Assert.Equal("EACCES", Assert.Throws<RmaOperationException>(() => endpoint.TryPost(RmaOperation.Receive(readOnly))).ErrorName);
    }

    [Fact]
    public void MemoryOfAManagerIsPinnedAndRegisteredWhileItIsLeased()
    {
        using RmaRegistrationCache cache = Cache();
        using var memory = new Counted();
        using (RmaBuffer buffer = cache.Register(memory.Memory))
        using (RmaBuffer other = cache.Register(memory.Memory[10..]))
            Assert.Equal((1, 1), (memory.Pins, _context.Live));
        Assert.Equal((0, 0), (memory.Pins, _context.Live));
        Assert.Equal(1, _context.Registrations);
    }

    [Fact]
    public void AMappingStaysInPlaceUntilItIsDeregistered()
    {
        using RmaRegistrationCache cache = Cache();
        using MemoryMappedFile file = MemoryMappedFile.CreateNew(null, 8192);
        MemoryMappedViewAccessor view = file.CreateViewAccessor(0, 5000);
        view.Write(4999, (byte)7);
        cache.Register(view).Dispose();
        RmaBuffer buffer = cache.Register(view);
        Assert.Equal(5000, buffer.Length);
        Assert.Equal(1, _context.Registrations);
        view.Dispose();
        Assert.Equal(7, buffer.Span[4999]);
        Assert.Throws<ObjectDisposedException>(() => cache.Register(view));
        buffer.Dispose();
        // Of a disposed view nothing is found any more: it is not kept.
        Assert.Equal((0, 1), (_context.Live, cache.GetStatistics().Invalidations));
        MemoryMappedViewAccessor other = file.CreateViewAccessor(0, 5000);
        cache.Register(other).Dispose();
        SafeBuffer mapping = other.SafeMemoryMappedViewHandle;
        other.Dispose();
        Assert.False(mapping.IsClosed);
        Assert.True(cache.Invalidate(other));
        Assert.True(mapping.IsClosed);
        Assert.True(cache.Invalidate(other));
        using MemoryMappedViewAccessor third = file.CreateViewAccessor();
        using (RmaBuffer part = cache.Register(third.SafeMemoryMappedViewHandle, 100, 50))
            Assert.Equal(50, part.Length);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => cache.Register(third.SafeMemoryMappedViewHandle, 8192, 1)).ParamName);
    }

    [Fact]
    public void WhoseMemoryItIsDecidesNotWhereItIs()
    {
        using RmaRegistrationCache cache = Cache();
        Memory<byte> array = MemoryMarshal.CreateFromPinnedArray(GC.AllocateArray<byte>(100, pinned: true), 0, 100);
        cache.Register(array).Dispose();
        using (RmaBuffer native = cache.Register(AddressOf(array), 100))
            Assert.Equal((2, 1), (_context.Registrations, _context.Live));
        cache.Register(array[..50]).Dispose();
        Assert.Equal((3, 1), (_context.Registrations, _context.Live));
        Assert.Equal(2, cache.GetStatistics().Replacements);
    }

    [Fact]
    public void WhatIsIdleForLongIsGivenBack()
    {
        using RmaRegistrationCache cache = Cache();
        cache.Register(new byte[100]).Dispose();
        using RmaBuffer inUse = cache.Register(new byte[100]);
        // The first look marks what is idle.
        _test.Pool.Trim(0);
        _test.Pool.Trim(long.MaxValue - 1);
        Assert.Equal((1, 1), (_context.Live, cache.GetStatistics().Trims));
    }

    [Fact]
    public void AClosedCacheGivesBackWhatIsIdleNowAndTheRestLater()
    {
        RmaRegistrationCache cache = Cache();
        cache.Register(new byte[100]).Dispose();
        RmaBuffer inUse = cache.Register(new byte[100]);
        cache.Dispose();
        cache.Dispose();
        Assert.Equal(1, _context.Live);
        Assert.Throws<ObjectDisposedException>(() => cache.Register(new byte[1]));
        Assert.Equal(100, _test.Statistics.SizeClasses.Single(c => c.Name == "cached").RegisteredBytes);
        inUse.Span.Fill(1);
        inUse.Dispose();
        Assert.Equal(0, _context.Live);
        Assert.DoesNotContain(_test.Statistics.SizeClasses, c => c.Name == "cached");
        Assert.Equal((2, 0), (_test.Statistics.RegistrationCache!.Misses, _test.Statistics.RegistrationCache.Entries));
    }

    [Fact]
    public async Task APoolThatIsClosedTakesItsCachesAlong()
    {
        using RmaRegistrationCache cache = Cache();
        cache.Register(new byte[100]).Dispose();
        RmaBuffer inUse = cache.Register(new byte[100]);
        Assert.False(await _test.Pool.DrainAsync(TimeSpan.Zero, Token));
        Assert.Throws<ObjectDisposedException>(() => cache.Register(new byte[1]));
        await _test.Pool.DisposeAsync();
        Assert.Equal(1, _context.Live);
        inUse.Dispose();
        Assert.Equal(0, _context.Live);
        Assert.Equal(1, _test.Statistics.LateReturns);
        Assert.Throws<ObjectDisposedException>(() => new RmaRegistrationCache(_test.Pool));
    }

    [Fact]
    public void ARefusalLeavesNothing()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[100];
        _context.BeforeRegister = (_, length) => throw CountingContext.Refusal(length);
        Assert.Throws<RmaRegistrationException>(() => cache.Register(array));
        Assert.Equal((0, 0, 1), (cache.GetStatistics().Entries, _test.Statistics.RegisteredBytes, cache.GetStatistics().Misses));
        _context.BeforeRegister = null;
        cache.Register(array).Dispose();
        Assert.Equal(1, cache.GetStatistics().Entries);
    }

    /// <summary>As MPI does, whose windows have no memory twice.</summary>
    [Fact]
    public void WhatIsIdleGivesWayWhereAProviderTakesNoMemoryTwice()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        RmaBuffer part = cache.Register(array.AsMemory(0, 500));
        cache.Register(array.AsMemory(400, 200)).Dispose();
        _context.BeforeRegister = (_, length) =>
        {
            if (_context.Live != 0)
                throw CountingContext.Refusal(length);
        };
        // One that is in use stays, and the request is refused.
        Assert.Throws<RmaRegistrationException>(() => cache.Register(array));
        part.Dispose();
        cache.Register(array).Dispose();
        Assert.Equal((1, 1000), (cache.GetStatistics().Entries, cache.GetStatistics().RegisteredBytes));
        Assert.Equal(1, _context.Live);
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

    /// <summary>What the transport has is what was asked for, unless it had more.</summary>
    [Fact]
    public void MemoryThatIsOnlyReadIsRegisteredSoUntilItIsWritten()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        using (RmaBuffer readOnly = cache.RegisterReadOnly(array))
            Assert.Equal((true, RmaAccess.Local | RmaAccess.RemoteRead), (readOnly.IsReadOnly, readOnly.Access));
        cache.RegisterReadOnly(array.AsMemory(5)).Dispose();
        Assert.Equal((1, 1), (_context.Registrations, _context.ReadOnlyRegistrations));
        using (RmaBuffer inUse = cache.RegisterReadOnly(array))
        using (RmaBuffer writable = cache.Register(array))
        {
            Assert.Equal((2, 2), (_context.Registrations, _context.Live));
            Assert.False(writable.IsReadOnly);
            writable.Expose(RmaAccess.RemoteWrite).Dispose();
        }
        Assert.Equal((1, 1), (_context.Live, cache.GetStatistics().Entries));
        cache.RegisterReadOnly(array).Dispose();
        Assert.Equal((2, 1), (_context.Registrations, _context.ReadOnlyRegistrations));
        _test.CheckBooks();
    }

    [Fact]
    public async Task AnExposureOfAPartHasARegistrationOfThatPartWhereExposuresAreApart()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context, o =>
        {
            o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;
            o.Isolation = RmaIsolation.PerExposure;
        });
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] array = new byte[1000];
        cache.Register(array).Dispose();
        List<long> lengths = [];
        context.BeforeRegister = (_, length) => lengths.Add(length);
        using (RmaBuffer part = cache.Register(array.AsMemory(100, 50)))
        using (RmaExposure exposure = part.Expose(RmaAccess.RemoteWrite))
            Assert.Equal(2, context.Live);
        Assert.Equal([50], lengths);
        Assert.Equal(1, context.Live);
        // It stays read-only where the registration that serves it is not.
        using (RmaBuffer readOnly = cache.RegisterReadOnly(array))
        using (RmaExposure exposure = readOnly.Expose(RmaAccess.RemoteRead))
            Assert.Equal(1, context.ReadOnlyRegistrations);
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
    public void WhatIsReplacedIsDeregisteredBeforeTheNewOneIsRegistered()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        cache.Register(array.AsMemory(0, 500)).Dispose();
        List<int> live = [];
        _context.BeforeRegister = (_, _) => live.Add(_context.Live);
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
        Assert.Equal((2, 0), (_context.Registrations, cache.GetStatistics().Replacements));
        Assert.Equal((1, 500), (cache.GetStatistics().Entries, cache.GetStatistics().RegisteredBytes));
    }

    [Fact]
    public void AViewThatWasDisposedIsNotKept()
    {
        using RmaRegistrationCache cache = Cache();
        using MemoryMappedFile file = MemoryMappedFile.CreateNew(null, 8192);
        MemoryMappedViewAccessor leased = file.CreateViewAccessor(0, 5000);
        RmaBuffer buffer = cache.Register(leased);
        leased.Dispose();
        buffer.Dispose();
        Assert.Equal(0, _context.Live);
        MemoryMappedViewAccessor idle = file.CreateViewAccessor(0, 5000);
        cache.Register(idle).Dispose();
        idle.Dispose();
        cache.Register(new byte[10]).Dispose();
        Assert.Equal((1, 10), (_context.Live, cache.GetStatistics().RegisteredBytes));
        Assert.True(idle.SafeMemoryMappedViewHandle.IsClosed);
    }

    [Fact]
    public void OwnersMayAskWhetherTheirMemoryHasGoneWhileItIsReleased()
    {
        using RmaRegistrationCache cache = Cache();
        using var asking = new Counted { OnUnpin = m => cache.Invalidate(m.Address, 4096) };
        cache.Register(asking.Memory).Dispose();
        Assert.Equal((0, true), (asking.Pins, asking.Answer));
        bool? isGone = null;
        var native = new AskingBuffer(b => isGone = cache.Invalidate(b, 4096));
        cache.Register(native, 0, 4096).Dispose();
        nint address = native.DangerousGetHandle();
        native.Dispose();
        Assert.Null(isGone);
        Assert.True(cache.Invalidate(address, 1));
        Assert.True(isGone);
        Assert.Equal(0, _context.Live);
    }

    [Fact]
    public async Task WhatIsLeasedIsNotTakenForIdleWhereTheClockStandsAtZero()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context, time: new ClockAtZero());
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] array = new byte[100];
        cache.Register(array).Dispose();
        // Notes since when it has been idle.
        test.Pool.Trim(-1);
        Assert.Equal(1, cache.GetStatistics().IdleEntries);
        using RmaBuffer leased = cache.Register(array);
        Assert.Equal(0, cache.GetStatistics().IdleEntries);
        test.Pool.Trim(long.MaxValue - 1);
        Assert.Equal(1, context.Live);
        leased.Span.Fill(1);
    }

    [Fact]
    public void ACacheThatIsClosedWhileARegistrationFailsIsForgotten()
    {
        RmaRegistrationCache cache = Cache();
        _context.BeforeRegister = (_, length) =>
        {
            cache.Dispose();
            throw CountingContext.Refusal(length);
        };
        Assert.Throws<RmaRegistrationException>(() => cache.Register(new byte[100]));
        Assert.DoesNotContain(_test.Statistics.SizeClasses, c => c.Name == "cached");
    }

    [Fact]
    public async Task AnAnswerThatMemoryIsInUseLeavesNoTaskWhoseFailureNobodySees()
    {
        // A length that no other test has, by which its errors are known.
        const int Length = 7_919;
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        List<Exception> unseen = [];
        void Note(object? sender, UnobservedTaskExceptionEventArgs e)
        {
            lock (unseen)
                unseen.AddRange(e.Exception.InnerExceptions.Where(i => i is RmaRegistrationException { Length: Length }));
        }
        TaskScheduler.UnobservedTaskException += Note;
        try
        {
            AskInVain(cache, context, new byte[2 * Length], Length);
            for (int i = 0; i < 3; i++)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Note;
        }
        Assert.Empty(unseen);
        Assert.Equal(2 * Length, test.Statistics.StrandedBytes);
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static void AskInVain(RmaRegistrationCache cache, CountingContext context, byte[] array, int length)
    {
        // Two registrations, whose ends are awaited together.
        RmaBuffer buffer = cache.Register(array.AsMemory(0, length));
        RmaBuffer other = cache.Register(array.AsMemory(length, length));
        using var cancelled = new CancellationTokenSource();
        Assert.False(cache.Invalidate(array));
        Task gone = cache.InvalidateAsync(buffer.Address, array.Length, cancelled.Token);
        cancelled.Cancel();
        Assert.True(gone.IsCanceled);
        context.FailDeregister = true;
        buffer.Dispose();
        other.Dispose();
    }

    private static unsafe nint AddressOf(ReadOnlyMemory<byte> pinned)
    {
        fixed (byte* start = pinned.Span)
            return (nint)start;
    }

    /// <summary>Memory whose pins are counted.</summary>
    private sealed unsafe class Counted : MemoryManager<byte>
    {
        private readonly nint _address = (nint)NativeMemory.AlignedAlloc(4096, 4096);

        public int Pins { get; private set; }

        public nint Address => _address;

        /// <summary>Called by the end of the last pin.</summary>
        public Func<Counted, bool>? OnUnpin { get; init; }

        /// <summary>What that said.</summary>
        public bool? Answer { get; private set; }

        public override Span<byte> GetSpan() => new((void*)_address, 4096);

        public override MemoryHandle Pin(int elementIndex = 0)
        {
            Pins++;
            return new MemoryHandle((byte*)_address + elementIndex, pinnable: this);
        }

        public override void Unpin()
        {
            if (--Pins == 0)
                Answer = OnUnpin?.Invoke(this);
        }

        protected override void Dispose(bool disposing) => NativeMemory.AlignedFree((void*)_address);
    }

    /// <summary>Native memory that is released by code which asks.</summary>
    private sealed unsafe class AskingBuffer : SafeBuffer
    {
        private readonly Action<nint> _ask;

        public AskingBuffer(Action<nint> ask)
            : base(ownsHandle: true)
        {
            _ask = ask;
            SetHandle((nint)NativeMemory.AlignedAlloc(4096, 4096));
            Initialize(4096);
        }

        protected override bool ReleaseHandle()
        {
            _ask(handle);
            NativeMemory.AlignedFree((void*)handle);
            return true;
        }
    }

    /// <summary>A clock that stands.</summary>
    private sealed class ClockAtZero : TimeProvider
    {
        public override long GetTimestamp() => 0;
    }
}
