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
        // The last element by a type that is longer than what is left.
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
