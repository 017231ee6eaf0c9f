using System.Buffers;
using System.Text.Json;
using AllocTools.Collections;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Collections;

public sealed class RmaBufferWriterTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o =>
    {
        o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;
        o.PoisonOnReturn = true;
    });

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    private sealed record Person(string Name, int Age, string[] Tags);

    [Theory]
    [InlineData(16)]
    [InlineData(1000)]
    [InlineData(RmaBufferWriter.DefaultSegmentLength)]
    public void WhatASerializerWritesIsThereInOnePieceOrMany(int segmentLength)
    {
        Person[] people = [.. Enumerable.Range(0, 300).Select(i => new Person($"Person {i}", i, ["a", "longer", new string('x', i)]))];
        using RmaBufferWriter writer = new(_test.Pool, segmentLength);
        using (Utf8JsonWriter json = new(writer))
            JsonSerializer.Serialize(json, people);
        byte[] expected = JsonSerializer.SerializeToUtf8Bytes(people);
        ReadOnlySequence<byte> sequence = writer.GetReadOnlySequence();
        Assert.Equal(expected, sequence.ToArray());
        Assert.Equal(expected.Length, writer.WrittenCount);
        Assert.Equal(expected, Enumerable.Range(0, writer.SegmentCount).SelectMany(i => writer.GetSegment(i).Span.ToArray()));
        Assert.True(writer.SegmentCount > 1 || segmentLength == RmaBufferWriter.DefaultSegmentLength);
        Utf8JsonReader reader = new(sequence);
        Assert.Equal(people[299].Name, JsonSerializer.Deserialize<Person[]>(ref reader)![299].Name);
    }

    [Fact]
    public void TheContractOfABufferWriterHolds()
    {
        using RmaBufferWriter writer = new(_test.Pool, 100);
        Assert.Equal((0, 0), (writer.WrittenCount, writer.SegmentCount));
        Assert.True(writer.GetReadOnlySequence().IsEmpty);
        Assert.Throws<InvalidOperationException>(() => writer.Advance(1));
        writer.Advance(0);
        Assert.Equal(100, writer.GetSpan().Length);
        Assert.Equal(0, writer.SegmentCount);
        // Memory that is requested and not written to makes no segment.
        Assert.Equal(1000, writer.GetMemory(1000).Length);
        Assert.Equal(1000, writer.GetSpan(1).Length);
        writer.GetSpan(1)[0] = 1;
        writer.Advance(999);
        Assert.Equal(1, writer.GetMemory().Length);
        writer.Advance(1);
        Assert.Equal(1, writer.SegmentCount);
        // This is the first memory again, which was too short for the previous request.
        Assert.Equal(100, writer.GetSpan().Length);
        Assert.Equal(2, _test.Statistics.RentedBuffers);
        writer.Advance(40);
        Assert.Equal(60, writer.GetMemory(60).Length);
        string message = Assert.Throws<InvalidOperationException>(() => writer.Advance(61)).Message;
        Assert.StartsWith("The writer can't advance by 61 bytes: its memory has room for 60 bytes more.", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>("count", () => writer.Advance(-1));
        Assert.Throws<ArgumentOutOfRangeException>("sizeHint", () => writer.GetMemory(-1));
        Assert.Throws<ArgumentOutOfRangeException>("sizeHint", () => writer.GetSpan(-1).Length);
        Assert.Equal((1040, 2), (writer.WrittenCount, writer.SegmentCount));
        Assert.Equal((0, 1000, 0, 40), (writer.GetSegment(0).Offset, writer.GetSegment(0).Length, writer.GetSegment(1).Offset, writer.GetSegment(1).Length));
        Assert.Throws<ArgumentOutOfRangeException>("index", () => writer.GetSegment(2));
        Assert.Throws<ArgumentOutOfRangeException>("segmentLength", () => new RmaBufferWriter(_test.Pool, 0));
        Assert.Throws<ArgumentNullException>("pool", () => new RmaBufferWriter(null!));
    }

    [Fact]
    public async Task WhereThePoolHasNoRoomWhatWasWrittenStays()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 8192;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        using RmaBufferWriter writer = new(test.Pool, 4096);
        writer.Write(new byte[8000]);
        Assert.Throws<RmaPoolExhaustedException>(() => writer.GetMemory(1000));
        string message = Assert.Throws<ArgumentOutOfRangeException>("sizeHint", () => writer.GetMemory(10_000)).Message;
        Assert.Contains("segmentLength 4096), but the pool 'test' has at most 8 KiB (8,192 bytes)", message, StringComparison.Ordinal);
        Assert.Equal((8000, 2), (writer.WrittenCount, writer.SegmentCount));
        writer.Write(new byte[192]);
        Assert.Equal(8192, writer.GetReadOnlySequence().Length);
    }

    [Fact]
    public void AWriterThatIsUsedAgainRentsAndAllocatesNothing()
    {
        using RmaBufferWriter writer = new(_test.Pool, 256);
        byte[] bytes = new byte[2000];
        writer.Write(bytes);
        // The object through which a segment is handed out as memory is created once.
        Assert.Equal(48, writer.GetMemory(3).Length);
        long hits = Rents();
        ThreadAllocations allocations = new();
        for (int round = 0; round < 50; round++)
        {
            allocations.Begin();
            writer.Clear();
            writer.Write(bytes);
            writer.GetMemory(3).Span[0] = 1;
            writer.Advance(1);
            allocations.End();
        }
        allocations.AssertNone();
        Assert.Equal((hits, 2001), (Rents(), writer.WrittenCount));
        writer.Clear();
        writer.TrimExcess();
        Assert.Equal(0, _test.Statistics.RentedBuffers);

        long Rents() => _test.Statistics.Hits + _test.Statistics.Misses;
    }

    [Fact]
    public void WhatAnOperationHoldsIsNotWrittenOver()
    {
        using RmaBufferWriter writer = new(_test.Pool, 4);
        writer.Write("abcdefgh"u8);
        Assert.Equal(2, writer.SegmentCount);
        RmaSlice inFlight = writer.GetSegment(0);
        RmaHold hold = inFlight.Hold();
        writer.Clear();
        Assert.Equal((1, 1), (_test.Statistics.RentedBuffers, _test.Statistics.QuarantinedBuffers));
        writer.Write("ABCDEFGH"u8);
        unsafe
        {
            Assert.Equal("abcd"u8, new ReadOnlySpan<byte>((void*)hold.Address, 4));
        }
        hold.Release();
        Assert.Equal((2, 0), (_test.Statistics.RentedBuffers, _test.Statistics.QuarantinedBuffers));
        Assert.Equal("ABCDEFGH"u8, writer.GetReadOnlySequence().ToArray());
        Assert.Throws<InvalidOperationException>(() => inFlight.Span.Length);

        using (MemoryHandle pin = writer.GetReadOnlySequence().First.Pin())
            Assert.Contains("is pinned", Assert.Throws<InvalidOperationException>(writer.Clear).Message, StringComparison.Ordinal);
        Assert.Equal(8, writer.WrittenCount);
    }

    [Fact]
    public void ASegmentThatWasReturnedByOtherMeansIsSaidOnce()
    {
        using RmaBufferWriter writer = new(_test.Pool, 4);
        writer.Write("abcdefgh"u8);
        writer.GetSegment(1).Buffer.Dispose();
        Assert.Throws<InvalidOperationException>(writer.Clear);
        writer.Clear();
        Assert.Equal(1, _test.Statistics.RentedBuffers);
        writer.Write("ABCDEFGH"u8);
        Assert.Equal("ABCDEFGH"u8, writer.GetReadOnlySequence().ToArray());
    }

    [Fact]
    public void EachSegmentComesBack()
    {
        RmaBufferWriter writer = new(_test.Pool, 16);
        writer.Write(new byte[100]);
        MemoryHandle pin = writer.GetReadOnlySequence().First.Pin();
        Assert.Throws<InvalidOperationException>(writer.Dispose);
        Assert.Equal(1, _test.Statistics.RentedBuffers);
        pin.Dispose();
        writer.Dispose();
        writer.Dispose();
        Assert.Equal(0, _test.Statistics.RentedBuffers);
        Assert.Throws<ObjectDisposedException>(() => writer.GetMemory());
        Assert.Throws<ObjectDisposedException>(() => writer.Advance(0));
        Assert.Throws<ObjectDisposedException>(() => writer.GetReadOnlySequence());
        Assert.Throws<ObjectDisposedException>(writer.Clear);
    }
}
