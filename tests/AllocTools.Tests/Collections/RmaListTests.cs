using System.Buffers;
using AllocTools.Collections;
using AllocTools.Testing;
using CsCheck;
using Xunit;

namespace AllocTools.Tests.Collections;

public sealed class RmaListTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o =>
    {
        o.Access = RmaAccess.RemoteRead;
        o.PoisonOnReturn = true;
    });

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    [Fact]
    public void ItGrowsAndItsElementsStay()
    {
        using (RmaList<long> list = new(_test.Pool))
        {
            Assert.Equal((0, 0, 0), (list.Count, list.Capacity, _test.Statistics.RentedBuffers));
            Assert.True(list.Span.IsEmpty);
            for (int i = 0; i < 100_000; i++)
                list.Add(i);
            Assert.Equal(100_000, list.Count);
            Assert.InRange(list.Capacity, 100_000, 200_000);
            for (int i = 0; i < 100_000; i++)
                Assert.Equal(i, list[i]);
            Assert.Equal(1, _test.Statistics.RentedBuffers);
            list.TrimExcess();
            Assert.Equal((100_000, 800_000), (list.Capacity, list.Slice(0, list.Count).Buffer.Length));
            Assert.Equal(99_999, list[99_999]);
            list.Clear();
            Assert.Equal((0, 100_000), (list.Count, list.Capacity));
            list.TrimExcess();
            Assert.Equal((0, 0), (list.Capacity, _test.Statistics.RentedBuffers));
            list.Add(5);
            Assert.Equal([5], list.Span);
        }
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    /// <summary>Each step is done to both lists in the same way.</summary>
    [Fact]
    public void ItDoesWhatAListDoes()
    {
        Gen<Action<IList<int>>> step = Gen.OneOf(
            Gen.Int.Select(v => (Action<IList<int>>)(l => l.Add(v))),
            Gen.Int.Select(Gen.Int[0, 999], (v, at) => (Action<IList<int>>)(l => l.Insert(at % (l.Count + 1), v))),
            Gen.Int[0, 999].Select(at => (Action<IList<int>>)(l =>
            {
                if (l.Count > 0)
                    l.RemoveAt(at % l.Count);
            })),
            Gen.Int[0, 999].Select(at => (Action<IList<int>>)(l =>
            {
                if (l.Count > 0)
                    l.Remove(l[at % l.Count]);
            })),
            Gen.Int[0, 999].Select(Gen.Int[0, 999], Gen.Int[0, 999], (at, from, count) => (Action<IList<int>>)(l => InsertOwn(l, at, from, count))),
            Gen.Int[0, 999].Select(Gen.Int[0, 999], (from, count) => (Action<IList<int>>)(l => RemoveRange(l, from, count))),
            Gen.Int[0, 1999].Select(n => (Action<IList<int>>)(l => SetCount(l, n))),
            Gen.Const((Action<IList<int>>)Trim));
        step.Array[0, 60].Sample(steps =>
        {
            List<int> expected = [];
            using RmaList<int> list = new(_test.Pool);
            foreach (Action<IList<int>> one in steps)
            {
                one(expected);
                one(list);
                Assert.Equal(expected, list);
                Assert.True(list.Span.SequenceEqual(expected.ToArray()));
                Assert.InRange(list.Count, 0, list.Capacity);
                Assert.Equal(expected.IndexOf(7), ((IList<int>)list).IndexOf(7));
            }
            int[] copy = new int[expected.Count + 2];
            list.CopyTo(copy, 1);
            Assert.Equal(expected, copy[1..^1]);
        }, iter: 300, threads: 1);
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void ItsOwnElementsCanBeAddedToIt()
    {
        using RmaList<int> list = new(_test.Pool, 4);
        list.AddRange([1, 2, 3]);
        // This makes the list grow, so the memory of its elements goes back to the pool, which overwrites it.
        list.AddRange(list.Span);
        Assert.Equal([1, 2, 3, 1, 2, 3], list.Span);
        list.EnsureCapacity(100);
        list.InsertRange(1, list.Span);
        Assert.Equal([1, 1, 2, 3, 1, 2, 3, 2, 3, 1, 2, 3], list.Span);
        list.AddRange(Enumerable.Range(8, 2));
        Assert.Equal([8, 9], list.GetSpan(12, 2));
        Assert.Equal(1, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void ItsOwnElementsGoBetweenOthersWhileItIsHeld()
    {
        using RmaList<int> list = new(_test.Pool, 100);
        list.AddRange([1, 2, 3, 4, 5, 6]);
        RmaHold hold = list.Slice(0, 1).Hold();
        list.InsertRange(2, list.GetSpan(1, 3));
        Assert.Equal([1, 2, 2, 3, 4, 3, 4, 5, 6], list.Span);
        list.InsertRange(1, list.GetSpan(7, 2));
        Assert.Equal([1, 5, 6, 2, 2, 3, 4, 3, 4, 5, 6], list.Span);
        list.InsertRange(10, list.GetSpan(0, 2));
        Assert.Equal([1, 5, 6, 2, 2, 3, 4, 3, 4, 5, 1, 5, 6], list.Span);
        // A span that ends beyond the end that the list has by then.
        ReadOnlySpan<int> early = list.GetSpan(8, 5);
        list.RemoveRange(10, 3);
        list.InsertRange(0, early);
        Assert.Equal([4, 5, 1, 5, 6, 1, 5, 6, 2, 2, 3, 4, 3, 4, 5], list.Span);
        hold.Release();
        Assert.Equal(100, list.Capacity);
    }

    [Fact]
    public void ItCanBeAddedToItself()
    {
        using RmaList<int> list = new(_test.Pool);
        list.AddRange((IEnumerable<int>)list);
        Assert.Equal(0, list.Count);
        list.AddRange([1, 2, 3]);
        list.AddRange((IEnumerable<int>)list);
        Assert.Equal([1, 2, 3, 1, 2, 3], list.Span);
        list.TrimExcess();
        list.AddRange((IEnumerable<int>)list);
        Assert.Equal([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3], list.Span);
        Assert.Equal(1, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void WhatIsStoredMayMakeItGrow()
    {
        using RmaList<int> list = new(_test.Pool, 1);
        list.Add(1);
        list[0] = Compute();
        list[0] += Compute();
        Assert.Equal(5 + 7, list[0]);
        list.GetReference(0)++;
        Assert.Equal(13, list[0]);

        int Compute()
        {
            list.EnsureCapacity(list.Capacity + 1);
            return list.Capacity < 1000 ? 5 : 7;
        }
    }

    [Fact]
    public async Task NearTheCapItGrowsByMoreThanOneElement()
    {
        await using var test = new TestPool(o => o.MaxRegisteredBytes = 8 << 20);
        // Twice the memory does not fit in addition to the current one.
        long count = (3 << 20) / sizeof(long);
        using RmaList<long> list = new(test.Pool, count);
        list.SetCount(count);
        long before = test.Statistics.Rents;
        for (int i = 0; i < 1000; i++)
            list.Add(i);
        Assert.InRange(test.Statistics.Rents - before, 1, 2);
        Assert.Equal(999, list[list.Count - 1]);
    }

    [Fact]
    public async Task OnAClosedPoolItGivesItsMemoryBackOnce()
    {
        var test = new TestPool();
        RmaList<int> list = new(test.Pool, 10);
        RmaList<int> other = new(test.Pool, 10);
        other.Add(1);
        await test.DisposeAsync();
        list.TrimExcess();
        Assert.Equal((0, 0), (list.Count, list.Capacity));
        Assert.Throws<ObjectDisposedException>(() => list.Add(1));
        Assert.Throws<ObjectDisposedException>(other.TrimExcess);
        Assert.Equal([1], other.Span);
        list.Dispose();
        other.Dispose();
        Assert.Equal(2, test.Statistics.LateReturns);
    }

    [Fact]
    public async Task WhatIsTooMuchForTheCapIsSaidWithoutAParameter()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 4096;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        using RmaList<byte> list = new(test.Pool, 4096);
        list.SetCount(4096);
        RmaPoolExhaustedException error = Assert.Throws<RmaPoolExhaustedException>(() => list.Add(1));
        Assert.StartsWith("The list can't grow from room for 4,096 elements to 4,097: the pool 'test' has at most", error.Message, StringComparison.Ordinal);
        Assert.Equal((4097, 4096, false), (error.RequestedLength, error.Limit, error.IsTransient));
        Assert.Equal(4096, list.Count);
    }

    [Fact]
    public void AListWhoseBufferWasReturnedSaysSoOnce()
    {
        RmaList<int> list = new(_test.Pool, 10);
        list.Add(1);
        list.Slice(0, 1).Buffer.Dispose();
        Assert.Throws<InvalidOperationException>(list.Dispose);
        list.Dispose();
        Assert.Throws<ObjectDisposedException>(() => list[0]);
    }

    [Fact]
    public void WhatIsHeldDoesNotGrowAndNothingIsLost()
    {
        using RmaList<int> list = new(_test.Pool, 4);
        list.AddRange([1, 2, 3]);
        RmaExposure exposure = list.Expose(0, 3, RmaAccess.RemoteRead);
        list.Add(4);
        string message = Assert.Throws<InvalidOperationException>(() => list.Add(5)).Message;
        Assert.StartsWith("The list can't grow from room for 4 elements to 5: an operation, an exposure or a pin holds its current memory", message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => list.AddRange([5, 6]));
        Assert.Throws<InvalidOperationException>(() => list.Insert(0, 5));
        Assert.Throws<InvalidOperationException>(() => list.EnsureCapacity(5));
        Assert.Throws<InvalidOperationException>(() => list.SetCount(5));
        Assert.Equal([1, 2, 3, 4], list.Span);
        list.RemoveAt(0);
        Assert.Throws<InvalidOperationException>(list.TrimExcess);
        list.Add(5);
        Assert.Equal([2, 3, 4, 5], list.Span);
        exposure.Dispose();
        list.Add(6);

        RmaHold hold = list.Slice(0, 1).Hold();
        list.SetCount(list.Capacity);
        Assert.Throws<InvalidOperationException>(() => list.Add(7));
        // The operation has timed out: the memory is not reused before the hold ends.
        hold.Quarantine();
        list.Add(7);
        Assert.Equal((1, 1), (_test.Statistics.RentedBuffers, _test.Statistics.QuarantinedBuffers));
        hold.Release();
        Assert.Equal((1, 0), (_test.Statistics.RentedBuffers, _test.Statistics.QuarantinedBuffers));
        Assert.Equal([2, 3, 4, 5, 6], list.GetSpan(0, 5));
        Assert.Equal(7, list[list.Count - 1]);
    }

    [Fact]
    public void WhatWasMadeOfTheOldMemoryThrows()
    {
        using RmaList<int> list = new(_test.Pool, 4);
        list.AddRange([1, 2, 3, 4]);
        RmaSlice slice = list.Slice(0, 4);
        RmaPointer<int> pointer = new(slice.Buffer);
        list.Add(5);
        Assert.Throws<InvalidOperationException>(() => slice.Span.Length);
        Assert.Throws<InvalidOperationException>(() => pointer.Value);
    }

    [Fact]
    public async Task AtTheCapItTakesWhatItNeedsAndElseStaysAsItWas()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 96 << 10;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 32 << 10 });
        });
        using RmaList<byte> list = new(test.Pool, 3000);
        list.SetCount(3000);
        list.Span.Fill(9);
        list.SetCount(24 << 10);
        // Doubling the capacity would not fit.
        list.EnsureCapacity(32 << 10);
        Assert.Throws<RmaPoolExhaustedException>(() => list.EnsureCapacity(50 << 10));
        Assert.Throws<ArgumentOutOfRangeException>("capacity", () => list.EnsureCapacity(1 << 20));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => list.SetCount(1 << 20));
        Assert.Equal((24 << 10, 32 << 10, 1), (list.Count, list.Capacity, test.Statistics.RentedBuffers));
        Assert.False(list.GetSpan(0, 3000).ContainsAnyExcept((byte)9));
        Assert.False(list.GetSpan(3000, list.Count - 3000).ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void AddingWhereThereIsRoomAllocatesNothing()
    {
        using RmaList<long> list = new(_test.Pool, 1000);
        ThreadAllocations allocations = new();
        for (int round = 0; round < 50; round++)
        {
            allocations.Begin();
            list.Clear();
            for (int i = 0; i < 1000; i++)
                list.Add(i);
            foreach (ref long value in list)
                value++;
            allocations.End();
        }
        Assert.Equal(1000, list[999]);
        allocations.AssertNone();
    }

    [Fact]
    public void MistakesAreSaid()
    {
        RmaList<int> list = new(_test.Pool);
        list.AddRange([1, 2, 3]);
        Assert.Throws<ArgumentOutOfRangeException>("index", () => list[3]);
        Assert.Throws<ArgumentOutOfRangeException>("index", () => list[-1]);
        Assert.Throws<ArgumentOutOfRangeException>("index", () => list.RemoveAt(3));
        Assert.Throws<ArgumentOutOfRangeException>("index", () => list.Insert(4, 1));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => list.RemoveRange(1, 3));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => list.Slice(2, 2));
        Assert.Throws<ArgumentOutOfRangeException>("count", () => list.SetCount(-1));
        Assert.Throws<ArgumentOutOfRangeException>("capacity", () => new RmaList<int>(_test.Pool, -1));
        Assert.Throws<ArgumentNullException>("pool", () => new RmaList<int>(null!));
        Assert.Throws<InvalidOperationException>(() =>
        {
            foreach (int value in list)
                list.Add(value);
        });
        Assert.Contains(2, (IEnumerable<int>)list);
        Assert.Throws<ArgumentNullException>("array", () => list.CopyTo(null!, 0));
        Assert.Throws<ArgumentOutOfRangeException>("arrayIndex", () => list.CopyTo(new int[3], 4));
        Assert.Throws<ArgumentException>("array", () => list.CopyTo(new int[3], 1));
        RmaList<int>.Enumerator enumerator = list.GetEnumerator();
        list.Dispose();
        list.Dispose();
        Assert.Throws<ObjectDisposedException>(() => list.Add(1));
        Assert.Throws<ObjectDisposedException>(() => list[0]);
        Assert.Throws<ObjectDisposedException>(() => list.Span.Length);
        Assert.Throws<ObjectDisposedException>(() => enumerator.MoveNext());
        Assert.Throws<ObjectDisposedException>(() => list.GetEnumerator().MoveNext());
        Assert.Throws<ObjectDisposedException>(() => ((IEnumerable<int>)list).GetEnumerator().MoveNext());
        Assert.Throws<ObjectDisposedException>(() => list.SetCount(0));
        Assert.Throws<ObjectDisposedException>(list.TrimExcess);
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    private static void InsertOwn(IList<int> target, int at, int from, int count)
    {
        at %= target.Count + 1;
        from %= target.Count + 1;
        count = Math.Min(count % 50, target.Count - from);
        if (target is List<int> list)
            list.InsertRange(at, list.GetRange(from, count));
        else
            ((RmaList<int>)target).InsertRange(at, ((RmaList<int>)target).GetSpan(from, count));
    }

    private static void RemoveRange(IList<int> target, int from, int count)
    {
        from %= target.Count + 1;
        count = Math.Min(count, target.Count - from);
        if (target is List<int> list)
            list.RemoveRange(from, count);
        else
            ((RmaList<int>)target).RemoveRange(from, count);
    }

    private static void SetCount(IList<int> target, int count)
    {
        if (target is RmaList<int> own)
        {
            own.SetCount(count);
            return;
        }
        var list = (List<int>)target;
        if (count < list.Count)
            list.RemoveRange(count, list.Count - count);
        else
            list.AddRange(new int[count - list.Count]);
    }

    private static void Trim(IList<int> target) => (target as RmaList<int>)?.TrimExcess();
}
