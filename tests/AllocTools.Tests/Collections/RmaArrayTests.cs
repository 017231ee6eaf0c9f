using System.Buffers;
using System.Runtime.CompilerServices;
using AllocTools.Blocks;
using AllocTools.Collections;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Collections;

public sealed class RmaArrayTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o =>
    {
        o.Access = RmaAccess.RemoteRead;
        o.PoisonOnReturn = true;
    });

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    [Fact]
    public void ItWorksLikeAnArray()
    {
        using (RmaArray<int> array = _test.Pool.RentArray<int>(10))
        {
            Assert.Equal(10, array.Length);
            Assert.Equal(40, array.Buffer.Length);
            Assert.All(array, value => Assert.Equal(0, value));
            for (int i = 0; i < 10; i++)
                array[i] = i;
            Assert.Equal(9, array[^1]);
            array[^1]++;
            Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 10], array.Span);
            Assert.Equal([3, 4], array.GetSpan(3, 2));
            Assert.Equal((12, 8), (array.Slice(3, 2).Offset, array.Slice(3, 2).Length));
            Assert.Equal((12, 28), (array.Slice(3).Offset, array.Slice(3).Length));
            Assert.Equal((4, 32), (array[1..^1].Offset, array[1..^1].Length));
            RmaSlice whole = array;
            Assert.Equal((0, 40), (whole.Offset, whole.Length));
            Assert.Equal(array.Buffer, array.ToRmaSlice().Buffer);
            Assert.Equal(7, array.AsPointer(7).Value);
            Assert.Equal(array.AsPointer(10), array.AsPointer() + 10);
            using (RmaExposure exposure = array.Expose(1, 2, RmaAccess.RemoteRead))
                Assert.Equal(8, exposure.Remote.Length);
            array.Fill(7);
            Assert.False(array.Span.ContainsAnyExcept(7));
            array.Clear();
            Assert.False(array.Span.ContainsAnyExcept(0));
            IReadOnlyList<int> list = array;
            list = [.. list];
            Assert.Equal(10, list.Count);
            Assert.Equal("Int32[10] in a buffer of 40 bytes of pool 'test'", array.ToString());
        }
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void ElementsAreZeroUnlessAskedOtherwise()
    {
        _test.Pool.RentArray<byte>(64).Dispose();
        using (RmaArray<byte> dirty = _test.Pool.RentArray<byte>(64, zeroed: false))
            Assert.False(dirty.Span.ContainsAnyExcept((byte)0xDD));
        using RmaArray<byte> array = _test.Pool.RentArray<byte>(64);
        Assert.False(array.Span.ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void ElementsGoByReferenceAndGoingThroughThemAllocatesNothing()
    {
        using RmaArray<long> array = _test.Pool.RentArray<long>(100);
        ThreadAllocations allocations = new();
        long sum = 0;
        for (int round = 0; round < 50; round++)
        {
            allocations.Begin();
            foreach (ref long value in array)
                value += 2;
            foreach (long value in array)
                sum += value;
            array[5] = array[^5];
            _ = array.Span.Length + array[1..].Length;
            allocations.End();
        }
        Assert.Equal(100, array[99]);
        Assert.Equal(100 * 2 * 50 * 51 / 2, sum);
        allocations.AssertNone();
    }

    [Fact]
    public void WhatIsOutOfItIsSaidInElements()
    {
        using RmaArray<long> array = _test.Pool.RentArray<long>(10);
        Assert.StartsWith("Index 10 is out of range: there are 10 elements.", Assert.Throws<ArgumentOutOfRangeException>("index", () => array[10]).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>("index", () => array[-1]);
        Assert.Throws<ArgumentOutOfRangeException>("index", () => array[^11]);
        Assert.Throws<ArgumentOutOfRangeException>("index", () => array[long.MaxValue]);
        Assert.StartsWith(
            "3 elements from 8 on are out of range: there are 10 elements.",
            Assert.Throws<ArgumentOutOfRangeException>("count", () => array.Slice(8, 3)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>("count", () => array.GetSpan(0, -1).Length);
        Assert.Throws<ArgumentOutOfRangeException>("start", () => array.GetSpan(11, 0).Length);
        Assert.Throws<ArgumentOutOfRangeException>("start", () => array.Slice(11));
        Assert.Throws<ArgumentOutOfRangeException>("range", () => array[5..3]);
        Assert.Throws<ArgumentOutOfRangeException>("range", () => array[..11]);
        Assert.Throws<ArgumentOutOfRangeException>("index", () => array.AsPointer(11));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => array.Expose(0, 0, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentOutOfRangeException>("length", () => _test.Pool.RentArray<long>(0));
        Assert.Throws<ArgumentOutOfRangeException>("length", () => _test.Pool.RentArray<long>(long.MaxValue / 2));
        Assert.Contains("(its option MaxRegisteredBytes)", Assert.Throws<ArgumentOutOfRangeException>("length", () => _test.Pool.RentArray<long>(1L << 50)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentNullException>("pool", () => new RmaArray<long>(null!, 1));
        Assert.Equal(1, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void AUseAfterTheEndThrows()
    {
        RmaArray<int> array = _test.Pool.RentArray<int>(10);
        Memory<int> memory = array.Memory;
        RmaSlice slice = array.Slice(0, 4);
        array.Dispose();
        array.Dispose();
        Assert.Throws<InvalidOperationException>(() => array[0]);
        Assert.Throws<InvalidOperationException>(() => array.Span.Length);
        Assert.Throws<InvalidOperationException>(() => array.GetSpan(0, 1).Length);
        Assert.Throws<InvalidOperationException>(() => array.AsPointer());
        Assert.Throws<InvalidOperationException>(() => memory.Span.Length);
        Assert.Throws<InvalidOperationException>(() => slice.Span.Length);
        Assert.Throws<InvalidOperationException>(() => array.Sum());
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void WhatIsPinnedIsDisposedAfterwards()
    {
        RmaArray<int> array = _test.Pool.RentArray<int>(10);
        array[3] = 33;
        using (MemoryHandle handle = array.Memory[2..].Pin())
        {
            unsafe
            {
                Assert.Equal(33, ((int*)handle.Pointer)[1]);
            }
            Assert.Throws<InvalidOperationException>(array.Dispose);
            Assert.Equal(33, array[3]);
        }
        array.Dispose();
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void APinThatIsEndedTwiceEndsNoOtherPin()
    {
        EndOneOfTwoPinsTwice<byte>();
        EndOneOfTwoPinsTwice<int>();

        void EndOneOfTwoPinsTwice<T>()
            where T : unmanaged
        {
            RmaArray<T> array = _test.Pool.RentArray<T>(10);
            MemoryHandle first = array.Memory.Pin();
            MemoryHandle copy = first;
            MemoryHandle second = array.Memory.Pin();
            first.Dispose();
            Assert.Throws<InvalidOperationException>(() => copy.Dispose());
            Assert.Throws<InvalidOperationException>(array.Dispose);
            second.Dispose();
            array.Dispose();
            Assert.Equal(0, _test.Statistics.RentedBuffers);
        }
    }

    [Fact]
    public void WhatAnOperationHoldsComesBackWithItsEnd()
    {
        RmaArray<int> array = _test.Pool.RentArray<int>(10);
        RmaHold hold = array.Slice(0).Hold();
        array.Dispose();
        Assert.Equal(1, _test.Statistics.QuarantinedBuffers);
        hold.Release();
        Assert.Equal((0, 0), (_test.Statistics.QuarantinedBuffers, _test.Statistics.RentedBuffers));
    }

    [Fact]
    public void ABufferOfTheCallersBecomesAnArray()
    {
        byte[] bytes = GC.AllocateArray<byte>(42, pinned: true);
        using (RmaArray<long> array = new(_test.Pool.Register(bytes)))
        {
            Assert.Equal(5, array.Length);
            array.Fill(-1);
        }
        Assert.Equal(2, bytes.Count(b => b == 0));
        RmaBuffer small = _test.Pool.Rent(7);
        Assert.Contains("shorter than one element (8 bytes)", Assert.Throws<ArgumentException>("buffer", () => new RmaArray<long>(small)).Message, StringComparison.Ordinal);
        small.Return();
        Assert.Throws<InvalidOperationException>(() => new RmaArray<long>(small));
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    /// <summary>A write to such memory would end the process.</summary>
    [Fact]
    public void MemoryThatMayOnlyBeReadBecomesNoArray()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, new byte[4096]);
            using RmaBuffer file = _test.Pool.RegisterFile(path);
            Assert.Contains("is read-only", Assert.Throws<ArgumentException>("buffer", () => new RmaArray<float>(file)).Message, StringComparison.Ordinal);
            Assert.True(file.IsRented);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void AnArrayWhoseBufferWasReturnedSaysSoOnce()
    {
        RmaArray<int> array = _test.Pool.RentArray<int>(10);
        array.Buffer.Dispose();
        Assert.Throws<InvalidOperationException>(array.Dispose);
        array.Dispose();
    }

    [Fact]
    public async Task RentingWaitsWhereTheCapLeavesNoRoom()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 4096;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        RmaArray<long> first = await test.Pool.RentArrayAsync<long>(10, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.RentArray<long>(1));
        Task<RmaArray<long>> waiting = test.Pool.RentArrayAsync<long>(512, cancellationToken: TestContext.Current.CancellationToken).AsTask();
        Assert.False(waiting.IsCompleted);
        first.Dispose();
        (await waiting).Dispose();
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>("length", () => test.Pool.RentArrayAsync<long>(513, cancellationToken: TestContext.Current.CancellationToken).AsTask());
        Assert.Equal(0, test.Statistics.RentedBuffers);
    }

    // Untouched pages cost nothing.
    [Fact]
    public async Task MoreThanASpanOfBytesHolds()
    {
        await using var test = new TestPool(o => o.MaxRegisteredBytes = 20L << 30);
        const long Count = 1_100_000_000;
        using (RmaArray<long> array = test.Pool.RentArray<long>(Count, zeroed: false))
        {
            Span<long> span = array.Span;
            Assert.Equal(Count, span.Length);
            span[^1] = 17;
            Assert.Equal(17, array[Count - 1]);
            Assert.Equal(17, array[^1]);
            Assert.Equal(17, array.GetSpan(Count - 1, 1)[0]);
            Assert.Equal(17, array.AsPointer(Count - 1).Value);
            Assert.Equal(((Count - 1) * 8, 8), (array.Slice(Count - 1).Offset, array.Slice(Count - 1).Length));
        }
        const long More = (1L << 31) + 5;
        using RmaArray<byte> bytes = test.Pool.RentArray<byte>(More, zeroed: false);
        bytes[More - 1] = 3;
        Assert.Equal(3, bytes.GetSpan(More - 2, 2)[1]);
        Assert.Contains("GetSpan(start, count)", Assert.Throws<InvalidOperationException>(() => bytes.Span.Length).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => bytes.Memory.Length);
        Assert.Throws<InvalidOperationException>(() => ((IReadOnlyCollection<byte>)bytes).Count);
    }
}
