using System.Buffers;
using System.Runtime.InteropServices;
using AllocTools.Buffers;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Buffers;

/// <summary>Tests a pool as a MemoryPool: what may be requested, and wrong uses of its owners.</summary>
public sealed class MemoryOwnerTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o => o.Access = RmaAccess.RemoteWrite);
    private readonly RmaMemoryPoolAdapter _memory;

    public MemoryOwnerTests() => _memory = _test.Pool.AsMemoryPool();

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    [Theory]
    [InlineData(-1, 16 << 10)]
    [InlineData(0, 1 << 10)]
    [InlineData(1, 1 << 10)]
    [InlineData(1 << 10, 1 << 10)]
    [InlineData((1 << 10) + 1, 16 << 10)]
    [InlineData((1 << 20) + 1, (1 << 20) + 4096)]
    public void ARentGivesTheWholeBlock(int minBufferSize, int length)
    {
        using RmaMemoryOwner owner = _memory.Rent(minBufferSize);
        Assert.Equal(length, owner.Memory.Length);
        Assert.Equal(length, owner.Memory.Span.Length);
        Assert.Equal(length, owner.Buffer.Length);
        Assert.Equal(1, _test.Statistics.RentedBuffers);
    }

    [Theory]
    [InlineData(-1, 1 << 10)]
    [InlineData(100, 1 << 10)]
    public void TheLongestThatIsRentedMayBeLessThanTheUsualSize(int minBufferSize, int length)
    {
        using RmaMemoryPoolAdapter small = _test.Pool.AsMemoryPool(maxBufferSize: 100);
        Assert.Equal(100, small.MaxBufferSize);
        using RmaMemoryOwner owner = small.Rent(minBufferSize);
        Assert.Equal(length, owner.Memory.Length);
    }

    [Theory]
    [InlineData(-2)]
    [InlineData(int.MinValue)]
    [InlineData(101)]
    [InlineData(int.MaxValue)]
    public void SizesThatCannotBeAreRefusedByName(int minBufferSize)
    {
        using RmaMemoryPoolAdapter small = _test.Pool.AsMemoryPool(maxBufferSize: 100);
        ArgumentOutOfRangeException error = Assert.Throws<ArgumentOutOfRangeException>(() => small.Rent(minBufferSize));
        Assert.Equal("minBufferSize", error.ParamName);
        Assert.StartsWith("The size must be between 0 and 100 bytes, or -1 for any.", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, _test.Statistics.RentedBuffers);
        Assert.Equal("maxBufferSize", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.AsMemoryPool(0)).ParamName);
        Assert.Equal("maximumSegmentSize", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.ToPipeOptions(maximumSegmentSize: 0)).ParamName);
    }

    [Fact]
    public void TheLongestIsThePoolsCapAsItChanges()
    {
        Assert.Equal(1 << 30, _memory.MaxBufferSize);
        RmaMemoryPoolOptions options = _test.Pool.Options;
        options.MaxRegisteredBytes = 2 << 20;
        _test.Pool.Reconfigure(options);
        Assert.Equal(2 << 20, _memory.MaxBufferSize);
        Assert.Throws<ArgumentOutOfRangeException>(() => _memory.Rent((2 << 20) + 1));
        options.MaxRegisteredBytes = 1L << 40;
        _test.Pool.Reconfigure(options);
        Assert.Equal(int.MaxValue, _memory.MaxBufferSize);
    }

    [Fact]
    public async Task WhereThePoolHasNoRoomARentSaysSo()
    {
        await using var small = new TestPool(o => o.MaxRegisteredBytes = 1 << 20);
        using RmaMemoryPoolAdapter memory = small.Pool.AsMemoryPool();
        using (memory.Rent(1 << 20))
            Assert.Throws<RmaPoolExhaustedException>(() => memory.Rent(1 << 20));
        using RmaMemoryOwner again = memory.Rent(1 << 20);
        Assert.Equal(1 << 20, again.Memory.Length);
    }

    [Fact]
    public void DisposingTheAdapterLeavesThePoolAndItsOwnersAsTheyAre()
    {
        RmaMemoryOwner owner = _memory.Rent(100);
        _memory.Dispose();
        _memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _memory.Rent(100));
        owner.Memory.Span.Fill(1);
        owner.Dispose();
        using RmaBuffer buffer = _test.Pool.Rent(100);
        Assert.Equal(1, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void DisposingAnOwnerAgainDoesNothingToWhoHasTheBlockByThen()
    {
        RmaMemoryOwner owner = _memory.Rent(100);
        nint address = owner.Buffer.Address;
        owner.Dispose();
        owner.Dispose();
        using RmaMemoryOwner other = _memory.Rent(100);
        Assert.Equal(address, other.Buffer.Address);
        owner.Dispose();
        ((IDisposable)owner).Dispose();
        Assert.True(other.Buffer.IsRented);
        other.Memory.Span.Fill(1);
    }

    [Fact]
    public void WhatWasTakenOfAnOwnerThrowsAfterItWasDisposed()
    {
        RmaMemoryOwner owner = _memory.Rent(100);
        Memory<byte> memory = owner.Memory;
        Memory<byte> part = memory.Slice(10, 20);
        Assert.True(RmaSlice.TryGet(part, out RmaSlice slice));
        owner.Dispose();
        using RmaMemoryOwner other = _memory.Rent(100);
        Assert.Throws<InvalidOperationException>(() => owner.Memory.Length);
        Assert.Throws<InvalidOperationException>(() => owner.GetSpan().Length);
        Assert.Throws<InvalidOperationException>(() => memory.Span.Length);
        Assert.Throws<InvalidOperationException>(() => part.Span.Length);
        Assert.Throws<InvalidOperationException>(() => part.Pin());
        Assert.Throws<InvalidOperationException>(() => slice.Span.Length);
        Assert.Throws<InvalidOperationException>(() => owner.Buffer.Address);
        // Where the memory came from is still known.
        Assert.True(RmaSlice.TryGet(part, out slice));
        Assert.Throws<InvalidOperationException>(() => slice.Address);
    }

    [Fact]
    public void AnOwnerThatIsPinnedIsNotDisposed()
    {
        RmaMemoryOwner owner = _memory.Rent(100);
        MemoryHandle first = owner.Memory.Pin();
        MemoryHandle second = owner.Memory[10..].Pin();
        Assert.Contains("pinned 2 time(s)", Assert.Throws<InvalidOperationException>(owner.Dispose).Message, StringComparison.Ordinal);
        first.Dispose();
        first.Dispose();
        Assert.Contains("pinned 1 time(s)", Assert.Throws<InvalidOperationException>(((IDisposable)owner).Dispose).Message, StringComparison.Ordinal);
        owner.Memory.Span.Fill(1);
        second.Dispose();
        Assert.Throws<InvalidOperationException>(owner.Unpin);
        owner.Dispose();
        Assert.Equal((0, 0), (_test.Statistics.RentedBuffers, _test.Statistics.DeferredReturns));
    }

    [Fact]
    public void AnOwnerWhoseBufferWasReturnedSaysSoOnceAndIsCountedOnce()
    {
        var account = new Account();
        var owner = new RmaMemoryOwner(_test.Pool.Rent(100), account);
        owner.Buffer.Dispose();
        Assert.Throws<InvalidOperationException>(owner.Dispose);
        owner.Dispose();
        Assert.Equal([100L], account.Returned);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(1 << 10)]
    public unsafe void APinIsWhereItWasAskedFor(int index)
    {
        using RmaMemoryOwner owner = _memory.Rent(1 << 10);
        using RmaBuffer buffer = _test.Pool.Rent(1 << 10);
        using (MemoryHandle pin = owner.Pin(index))
            Assert.Equal(owner.Buffer.Address + index, (nint)pin.Pointer);
        using (MemoryHandle pin = owner.Memory[index..].Pin())
            Assert.Equal(owner.Buffer.Address + index, (nint)pin.Pointer);
        using (MemoryHandle pin = buffer.AsMemory(index).Pin())
            Assert.Equal(buffer.Address + index, (nint)pin.Pointer);
        using (MemoryHandle pin = buffer.Slice(index).Memory.Pin())
            Assert.Equal(buffer.Address + index, (nint)pin.Pointer);
        Assert.Equal("elementIndex", Assert.Throws<ArgumentOutOfRangeException>(() => owner.Pin((1 << 10) + 1)).ParamName);
        Assert.Equal("elementIndex", Assert.Throws<ArgumentOutOfRangeException>(() => owner.Pin(-1)).ParamName);
    }

    [Fact]
    public void AnOwnerThatIsDisposedWhileAnExposureHoldsItComesBackWithThat()
    {
        RmaMemoryOwner owner = _memory.Rent(100);
        RmaExposure exposure = owner.Buffer.Expose(RmaAccess.RemoteWrite);
        owner.Dispose();
        owner.Dispose();
        Assert.Equal((1, 1), (_test.Statistics.QuarantinedBuffers, _test.Statistics.DeferredReturns));
        exposure.Dispose();
        Assert.Equal((0, 0), (_test.Statistics.QuarantinedBuffers, _test.Statistics.RentedBuffers));
    }

    [Fact]
    public void AnOwnerWhoseBufferWasReturnedSaysSo()
    {
        RmaMemoryOwner owner = _memory.Rent(100);
        owner.Buffer.Dispose();
        using RmaMemoryOwner other = _memory.Rent(100);
        Assert.Throws<InvalidOperationException>(owner.Dispose);
        Assert.True(other.Buffer.IsRented);
    }

    [Fact]
    public async Task AnOwnerMayBeDisposedAfterThePool()
    {
        RmaMemoryOwner owner = _memory.Rent(100);
        await _test.Pool.DisposeAsync();
        owner.Memory.Span.Fill(1);
        owner.Dispose();
        Assert.Equal(1, _test.Statistics.LateReturns);
        Assert.Throws<ObjectDisposedException>(() => _memory.Rent(100));
    }

    [Fact]
    public void ARentMakesOneObjectAndTheWayBackNone()
    {
        var allocations = new ThreadAllocations();
        for (int round = 0; round < 4; round++)
        {
            using RmaMemoryOwner owner = _memory.Rent(4096);
            Memory<byte> memory = owner.Memory;
            allocations.Begin();
            for (int i = 0; i < 100; i++)
                Assert.True(RmaSlice.TryGet(memory[i..], out _) && memory.Span.Length != 0 && owner.Memory.Length != 0);
            allocations.End();
        }
        allocations.AssertNone();

        long size = BytesOf(() => new RmaMemoryOwner(default));
        Assert.Equal(size, BytesOf(() => _memory.Rent(4096)));
    }

    /// <summary>
    /// Returns the bytes allocated by making and disposing one object: the minimum of several runs, since a collection
    /// adds to one.
    /// </summary>
    private static long BytesOf(Func<RmaMemoryOwner> make) => Enumerable.Range(0, 20).Min(_ =>
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        RmaMemoryOwner owner = make();
        long bytes = GC.GetAllocatedBytesForCurrentThread() - before;
        if (!owner.Buffer.IsDefault)
            owner.Dispose();
        return bytes;
    });

    private sealed class Account : IRentAccount
    {
        public List<long> Returned { get; } = [];

        public void OnReturned(long length) => Returned.Add(length);
    }
}
