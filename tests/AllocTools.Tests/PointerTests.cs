using Xunit;

namespace AllocTools.Tests;

public sealed class PointerTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o => o.Access = RmaAccess.RemoteRead);
    private readonly RmaAllocator<long> _allocator;

    public PointerTests() => _allocator = new RmaAllocator<long>(_test.Pool);

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    [Fact]
    public unsafe void ItWorksLikeAPointer()
    {
        RmaPointer<long> start = _allocator.AllocateZeroed(10);
        Assert.Equal(80, start.Buffer.Length);
        long* bare = start.ToPointer();
        RmaPointer<long> p = start;
        for (int i = 0; i < 10; i++)
        {
            Assert.Equal(0, p.Value);
            p.Value = i;
            p++;
        }
        Assert.Equal(10, p - start);
        Assert.True(p > start && start < p && p >= start && start <= p && p != start);
        p--;
        Assert.Equal(9, p.Value);
        Assert.Equal(7, p[-2]);
        Assert.Equal(5, (start + 5).Value);
        Assert.Equal(start + 3, p - 6);
        Assert.Equal(3, bare[3]);
        Assert.Equal([4L, 5L], (start + 4).AsSpan(2));
        Assert.Equal(16, (start + 8).Slice(2).Length);
        Assert.Equal(4, (start + 2).Cast<int>()[4]);
        Assert.False(start.IsNull);
        Assert.True(RmaPointer<long>.Null.IsNull);
        Assert.Equal(start.Buffer.LocalDescriptor, start.LocalDescriptor);
        using (RmaExposure exposure = (start + 1).Expose(2, RmaAccess.RemoteRead))
            Assert.Equal(16, exposure.Remote.Length);
        _allocator.Free(start);
    }

    [Fact]
    public void ItCatchesWhatAPointerDoesNot()
    {
        RmaPointer<long> start = _allocator.Allocate(10);
        Assert.Throws<ArgumentOutOfRangeException>(() => start[10]);
        Assert.Throws<ArgumentOutOfRangeException>(() => start[-1]);
        Assert.Throws<ArgumentOutOfRangeException>(() => (start + 100).Value);
        Assert.Throws<OverflowException>(() => start[long.MaxValue]);
        Assert.Throws<ArgumentOutOfRangeException>(() => _ = (start + 9).AsSpan(2).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => _ = start.AsSpan(-1).Length);
        // Reads the last element as a type that is longer than the remaining memory.
        Assert.Throws<ArgumentOutOfRangeException>(() => (start + 9).Cast<Int128>().Value);
        Assert.Throws<InvalidOperationException>(() => RmaPointer<long>.Null.Value);
        RmaPointer<long> other = _allocator.Allocate(1);
        Assert.Throws<ArgumentException>(() => start - other);
        Assert.NotEqual(0, start.CompareTo(other));
        _allocator.Free(start);
        Assert.Throws<InvalidOperationException>(() => start.Value);
        Assert.Throws<InvalidOperationException>(() => _allocator.Free(start));
        Assert.Throws<ArgumentException>(() => _allocator.Free(other + 1));
        _allocator.Free(other);
        _allocator.Free(default);
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public unsafe void ABarePointerWhoseBufferWasReturnedIsForgotten()
    {
        long* first = _allocator.AllocateUnmanaged(10);
        _allocator.FromUnmanaged(first).Buffer.Dispose();
        Assert.Throws<InvalidOperationException>(() => _allocator.FreeUnmanaged(first));
        Assert.Throws<ArgumentException>("pointer", () => _allocator.FreeUnmanaged(first));
        // Memory that is held stays allocated.
        long* second = _allocator.AllocateUnmanaged(10);
        RmaHold hold = _allocator.FromUnmanaged(second).Slice(10).Hold();
        Assert.Throws<InvalidOperationException>(() => _allocator.FreeUnmanaged(second));
        hold.Release();
        _allocator.FreeUnmanaged(second);
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void WhatMayOnlyBeLookedAtGoesByAReadOnlyPointer()
    {
        RmaPointer<long> start = _allocator.Allocate(10, 7);
        RmaReadOnlyPointer<long> view = start;
        Assert.Equal(7, view.Value);
        start[3] = 33;
        Assert.Equal(33, view[3]);
        Assert.Equal([7L, 33L], (view + 2).AsSpan(2));
        Assert.True(view < view + 1 && view + 1 > view && view <= view + 0 && view >= start && view == start.AsReadOnly() && view != start + 1);
        Assert.Equal(4, (view + 4) - view);
        Assert.Equal(view + 2, view + 3 - 1);
        RmaReadOnlyPointer<long> moved = view;
        moved++;
        Assert.Equal(8, moved.ByteOffset);
        moved--;
        Assert.Equal((view, view), (moved, moved.Increment().Decrement()));
        Assert.Equal((3, 33), (view.Cast<int>().Add(6).Cast<long>() - view, view.Cast<int>()[6]));
        Assert.Equal(24, view.PointerTo(in view[3]).ByteOffset);
        Assert.Equal(16, view.Slice(2).Length);
        using (RmaExposure exposure = view.Expose(2))
            Assert.Equal(RmaAccess.RemoteRead, exposure.Remote.Access);
        Assert.Equal(start.LocalDescriptor, view.LocalDescriptor);
        Assert.True(RmaReadOnlyPointer<long>.Null.IsNull);
        Assert.Equal(RmaReadOnlyPointer<long>.Null, RmaPointer<long>.Null);
        Assert.Equal(("null", "read-only pointer to Int64 at offset 8 of a buffer of 80 bytes of pool 'test'"), (default(RmaReadOnlyPointer<long>).ToString(), (view + 1).ToString()));
        _allocator.Free(start);
        Assert.Throws<InvalidOperationException>(() => view.Value);
    }

    [Fact]
    public async Task ArithmeticThatLeavesTheBufferThrowsWhereItIsChecked()
    {
        await using var test = new TestPool(o => o.CheckPointers = true);
        RmaAllocator<long> allocator = new(test.Pool);
        RmaPointer<long> start = allocator.Allocate(10);
        RmaPointer<long> end = start + 10;
        Assert.Equal(10, end - start);
        Assert.Equal(start, end - 10);
        Assert.StartsWith("The pointer would leave its buffer: offset 88 is beyond its 80 bytes.", Assert.Throws<ArgumentOutOfRangeException>("elements", () => end + 1).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>("elements", () => start - 1);
        Assert.Throws<ArgumentOutOfRangeException>("elements", () => start + -1);
        Assert.Throws<ArgumentOutOfRangeException>("elements", () => end++);
        Assert.Throws<ArgumentOutOfRangeException>("elements", () => start.Decrement());
        Assert.Throws<ArgumentOutOfRangeException>("elements", () => start.Cast<byte>() + 81);
        Assert.Throws<ArgumentOutOfRangeException>("elements", () => start.AsReadOnly() + 11);
        Assert.Throws<OverflowException>(() => start + long.MaxValue);
        using RmaBuffer watched = test.Pool.Rent(8);
        Assert.Throws<ArgumentOutOfRangeException>("elements", () => watched.AsPointer<long>() + 2);
        allocator.Free(start);
    }

    [Fact]
    public void ANullPointerIsNotMoved()
    {
        Assert.Throws<InvalidOperationException>(() => RmaPointer<long>.Null + 1);
        Assert.Throws<InvalidOperationException>(() => RmaReadOnlyPointer<long>.Null - 1);
        Assert.Equal(RmaPointer<long>.Null, RmaPointer<long>.Null + 0);
        Assert.True(RmaPointer<long>.Null.Cast<int>().IsNull);
    }

    private struct Pair
    {
        public int First;
        public long Second;
    }

    [Fact]
    public void APointerToAFieldIsMadeOfAReference()
    {
        RmaAllocator<Pair> pairs = _allocator.Rebind<Pair>();
        RmaPointer<Pair> start = pairs.Allocate(3, new Pair { First = 1, Second = 2 });
        RmaPointer<long> second = start.PointerTo(ref start[2].Second);
        second.Value = 22;
        Assert.Equal((22, 40), (start[2].Second, second.ByteOffset));
        Assert.Equal(32, start.PointerTo(ref start[2].First).ByteOffset);
        long elsewhere = 0;
        Assert.Throws<ArgumentOutOfRangeException>("member", () => start.PointerTo(ref elsewhere));
        pairs.Free(start);
        Assert.Throws<InvalidOperationException>(() => start.PointerTo(ref elsewhere));
    }

    [Fact]
    public async Task AllocatorsOfOnePoolAreEqualWhateverTheirElements()
    {
        await using var other = new TestPool();
        RmaAllocator<int> ints = _allocator.Rebind<int>();
        RmaAllocator<long> again = ints.Rebind<long>();
        Assert.True(_allocator == again && !(_allocator != again) && _allocator.Equals(ints) && _allocator.Equals((object)again));
        Assert.Equal(_allocator.GetHashCode(), ints.GetHashCode());
        Assert.False(_allocator == new RmaAllocator<long>(other.Pool) || _allocator.Equals(null) || _allocator == null);
        // Memory allocated by one allocator can be freed by the other.
        again.Free(_allocator.Allocate(3));
        unsafe
        {
            long* bare = _allocator.AllocateUnmanaged(3);
            Assert.Equal(12, (ints.FromUnmanaged((int*)bare) + 3).ByteOffset);
            ints.FreeUnmanaged((int*)bare);
            Assert.Throws<ArgumentException>(() => _allocator.FreeUnmanaged(bare));
        }
        Assert.Equal((_test.Statistics.LimitBytes / 8, _test.Statistics.LimitBytes / 4), (_allocator.MaxCount, ints.MaxCount));
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void CountsAreElementsAndOverflowsAreCaught()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => _allocator.Allocate(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => _allocator.Allocate(-1));
        Assert.Throws<OverflowException>(() => _allocator.Allocate(long.MaxValue / 2));
        Assert.True(_allocator.TryAllocate(1000, out RmaPointer<long> pointer));
        Assert.Equal(8000, pointer.Buffer.Length);
        _allocator.Free(pointer);
    }

    [Fact]
    public unsafe void CodeThatKnowsBarePointersOnlyCanUseIt()
    {
        long* pointer = _allocator.AllocateUnmanaged(100);
        new Span<long>(pointer, 100).Fill(3);
        Assert.Equal(3, _allocator.FromUnmanaged(pointer)[99]);
        Assert.Throws<ArgumentException>(() => _allocator.FreeUnmanaged(pointer + 1));
        RmaHold hold = _allocator.FromUnmanaged(pointer).Buffer.Hold();
        Assert.Throws<InvalidOperationException>(() => _allocator.FreeUnmanaged(pointer));
        hold.Release();
        _allocator.FreeUnmanaged(pointer);
        Assert.Throws<ArgumentException>(() => _allocator.FreeUnmanaged(pointer));
        _allocator.FreeUnmanaged(null);
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task AllocatingWaitsWhereRentingWould()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 4096;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        var allocator = new RmaAllocator<long>(test.Pool);
        RmaPointer<long> first = await allocator.AllocateAsync(10, TestContext.Current.CancellationToken);
        Assert.False(allocator.TryAllocate(1, out _));
        Task<RmaPointer<long>> waiting = allocator.AllocateAsync(10, TestContext.Current.CancellationToken).AsTask();
        Assert.False(waiting.IsCompleted);
        allocator.Free(first);
        allocator.Free(await waiting);
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }
}
