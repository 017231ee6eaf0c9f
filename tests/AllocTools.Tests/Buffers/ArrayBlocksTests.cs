using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using AllocTools.Blocks;
using AllocTools.Buffers;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Buffers;

/// <summary>Tests a pool whose memory is that of arrays, and its blocks as parts of arrays.</summary>
public sealed class ArrayBlocksTests : IAsyncDisposable
{
    private readonly TestPool _test = new(
        o =>
        {
            TestPool.Classes(1 << 10, 16 << 10)(o);
            o.Access = RmaAccess.RemoteWrite;
        },
        blocks: new PinnedArrayAllocator());

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    [Fact]
    public unsafe void EachBlockIsAPartOfAnArrayAndLeadsBackToItsOwner()
    {
        RmaMemoryOwner[] owners = [.. Enumerable.Range(0, 100).Select(i => Rent(i % 2 == 0 ? 1 << 10 : 16 << 10))];
        for (int i = 0; i < owners.Length; i++)
        {
            RmaMemoryOwner owner = owners[i];
            Assert.True(MemoryMarshal.TryGetArray<byte>(owner.Memory, out ArraySegment<byte> segment));
            Assert.Equal(owner.Buffer.Address, Marshal.UnsafeAddrOfPinnedArrayElement(segment.Array!, segment.Offset));
            owner.Memory.Span.Fill((byte)i);
            foreach ((int start, int length) in new[] { (0, segment.Count), (0, 0), (10, 20), (segment.Count - 1, 1) })
            {
                Assert.True(RmaSlice.TryGet(owner.Memory.Slice(start, length), out RmaSlice slice));
                Assert.Equal((owner.Buffer, start, length), (slice.Buffer, slice.Offset, slice.Length));
            }
            // An array's memory belongs to one block; memory that extends into the next block has no owner.
            Assert.False(RmaSlice.TryGet(segment.Array.AsMemory(segment.Offset, segment.Count + 1), out _));
        }
        for (int i = 0; i < owners.Length; i++)
            Assert.False(owners[i].Buffer.Span.ContainsAnyExcept((byte)i));
        foreach (RmaMemoryOwner owner in owners)
            owner.Dispose();
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void MemoryThatWasReturnedIsNoBuffersUntilSomebodyElseHasIt()
    {
        RmaMemoryOwner owner = Rent(1 << 10);
        Memory<byte> memory = owner.Memory;
        owner.Dispose();
        Assert.False(RmaSlice.TryGet(memory, out _));
        Assert.Throws<InvalidOperationException>(() => owner.Memory.Length);
        using RmaMemoryOwner next = Rent(1 << 10);
        Assert.True(next.Memory.Equals(memory));
        owner.Dispose();
        Assert.True(RmaSlice.TryGet(memory, out RmaSlice slice));
        Assert.Equal(next.Buffer, slice.Buffer);
        // A block that is rented by other means can't be found through the array.
        next.Dispose();
        using RmaBuffer buffer = _test.Pool.Rent(1 << 10);
        Assert.False(RmaSlice.TryGet(memory, out _));
    }

    [Fact]
    public async Task AnOperationHoldsTheBlockThatItReads()
    {
        await using IRmaEndpoint endpoint = _test.Context.OpenEndpoint();
        using RmaBuffer target = _test.Pool.Rent(1000);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        RmaMemoryOwner source = Rent(1000);
        RandomNumberGenerator.Fill(source.Memory.Span);
        Assert.True(RmaSlice.TryGet(source.Memory[..1000], out RmaSlice slice));
        await endpoint.WriteAsync(slice, remote, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(target.Span.SequenceEqual(source.Memory.Span[..1000]));
        RmaExposure held = slice.Buffer.Expose(RmaAccess.RemoteWrite);
        source.Dispose();
        Assert.Equal((1, 1), (_test.Statistics.QuarantinedBuffers, _test.Statistics.DeferredReturns));
        held.Dispose();
        Assert.Equal(0, _test.Statistics.QuarantinedBuffers);
    }

    [Fact]
    public void AnArrayOfASlabThatWasGivenBackIsNoPoolsAndIsCollected()
    {
        WeakReference array = RentFromPoolThatEnds();
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        while (array.IsAlive)
        {
            Assert.False(limit.IsCancellationRequested, "The array is still alive.");
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    [Fact]
    public void TheAllocatorKeepsTheRulesOfOne()
    {
        PinnedArrayAllocator allocator = new();
        nint address = allocator.Allocate(3 * allocator.PageSize, populate: true);
        Assert.Equal(0, address % allocator.PageSize);
        allocator.Free(address, 3 * allocator.PageSize);
        Assert.Throws<ArgumentException>(() => allocator.Free(address, 3 * allocator.PageSize));
        Assert.Throws<ArgumentOutOfRangeException>(() => allocator.Allocate(0, populate: false));
        Assert.Throws<ArgumentOutOfRangeException>(() => allocator.Allocate(allocator.PageSize + 1, populate: false));
        Assert.Contains("more than an array can have", Assert.Throws<InsufficientMemoryException>(() => allocator.Allocate(1L << 31, populate: false)).Message, StringComparison.Ordinal);
    }

    private RmaMemoryOwner Rent(int length) => new(_test.Pool.Rent(length).WholeBlock(), asArray: true);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference RentFromPoolThatEnds()
    {
        var ending = new TestPool(blocks: new PinnedArrayAllocator());
        RmaMemoryOwner owner = new(ending.Pool.Rent(100).WholeBlock(), asArray: true);
        Memory<byte> memory = owner.Memory;
        Assert.True(MemoryMarshal.TryGetArray<byte>(memory, out ArraySegment<byte> segment));
        Assert.True(RmaSlice.TryGet(memory, out _));
        owner.Dispose();
        ending.Pool.Dispose();
        Assert.False(RmaSlice.TryGet(memory, out _));
        return new WeakReference(segment.Array);
    }
}
