using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using AllocTools.Cells;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Cells;

public sealed class RmaCellTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
    private readonly RmaBuffer _buffer;
    private readonly RmaExposure _exposure;
    private readonly IRmaEndpoint _endpoint;
    private readonly RemoteRegion _region;

    public RmaCellTests()
    {
        _buffer = _test.Pool.Rent(1000);
        _buffer.Span.Clear();
        _exposure = _buffer.Expose(RmaAccess.RemoteRead);
        _endpoint = _test.Context.OpenEndpoint();
        _region = _endpoint.Import(_endpoint.InsertPeer(_endpoint.Address.Span), _exposure.Remote);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        _region.Dispose();
        await _endpoint.DisposeAsync();
        _exposure.Dispose();
        _buffer.Dispose();
        await _test.DisposeAsync();
    }

    // Known values of XXH64, which other implementations return, too.
    [Theory]
    [InlineData("", 0UL, 0xEF46DB3751D8E999UL)]
    [InlineData("abc", 0UL, 0x44BC2CF5AD770999UL)]
    [InlineData("xxhash", 0UL, 0x32DD38952C4BC720UL)]
    [InlineData("xxhash", 20141025UL, 0xB559B98D844E0635UL)]
    [InlineData("Nobody inspects the spammish repetition", 0UL, 0xFBCEA83C8A378BF1UL)]
    public void TheCheckValueIsXxh64(string text, ulong seed, ulong expected) => Assert.Equal(expected, XxHash64.Of(Encoding.ASCII.GetBytes(text), seed));

    /// <summary>Checks the form byte by byte, as docs/wire-forms.md defines it.</summary>
    [Fact]
    public void TheFormIsAsDocumented()
    {
        RmaCell<Int128> cell = new(_buffer.Slice(8), 5);
        cell.Write(-2);
        Span<byte> bytes = _buffer.GetSpan(8, 40);
        Assert.Equal<byte>([0xA7, (byte)'C', 1, 0, 16, 0, 0, 0], bytes[..8].ToArray());
        Assert.Equal(4UL, BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]));
        Assert.Equal(XxHash64.Of(bytes[24..40], seed: 4), BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]));
        Assert.Equal(-2, BinaryPrimitives.ReadInt128LittleEndian(bytes[24..]));
        Assert.False(_buffer.Span[48..].ContainsAnyExcept((byte)0));
        Assert.Equal((40, 24 + 8, 24 + 16), (RmaCell.SizeOf<Int128>(), RmaCell.SizeOf<byte>(), RmaCell.SizeOf<(long, byte)>()));
        Assert.Equal((2, (Int128)(-2), 40), (cell.Version, cell.Value, cell.Memory.Length));
    }

    /// <summary>
    /// A transport may deliver any mix of two writes, in any order and steps: without the check, a mix would pass for a
    /// value.
    /// </summary>
    [Fact]
    public void EachMixOfTwoWritesIsFound()
    {
        RmaCell<(long, long, long, long)> cell = new(_buffer, (1, 2, 3, 4));
        byte[] old = Image();
        cell.Write((5, 6, 7, 8));
        byte[] current = Image();
        Assert.True(CellImage.IsWhole(old, 32) && CellImage.IsWhole(current, 32));
        int passedBySequence = 0;
        // Each of the 6 words that change is either from one write or from the other.
        for (int ofCurrent = 1; ofCurrent < (1 << 6) - 1; ofCurrent++)
        {
            byte[] mixed = [.. old];
            for (int word = 0; word < 6; word++)
            {
                if ((ofCurrent & (1 << word)) != 0)
                    current.AsSpan(8 + (8 * word), 8).CopyTo(mixed.AsSpan(8 + (8 * word)));
            }
            Assert.False(CellImage.IsWhole(mixed, 32));
            passedBySequence += CellImage.IsBeingWritten(CellImage.SequenceOf(mixed)) ? 0 : 1;
        }
        // The sequence alone would have detected none of them.
        Assert.Equal(62, passedBySequence);

        byte[] Image() => _buffer.GetSpan(0, RmaCell.SizeOf<(long, long, long, long)>()).ToArray();
    }

    [Fact]
    public void EachByteThatIsChangedIsFound()
    {
        _ = new RmaCell<(long, long)>(_buffer, (1, -2));
        byte[] image = _buffer.GetSpan(0, 40).ToArray();
        for (int at = 8; at < image.Length; at++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                image[at] ^= (byte)(1 << bit);
                Assert.False(CellImage.IsWhole(image, 16), $"bit {bit} of byte {at}");
                image[at] ^= (byte)(1 << bit);
            }
        }
        Assert.True(CellImage.IsWhole(image, 16));
    }

    [Fact]
    public async Task AReaderTriesAgainUntilTheWriteIsDone()
    {
        RmaCell<long> cell = new(_buffer, 1);
        RmaCellReader<long> reader = new(_endpoint, _test.Pool, _region);
        Assert.Equal(new RmaCellValue<long>(1, 1), await reader.ReadAsync(cancellationToken: Token));
        _buffer.Span[8] = 3;
        Task<RmaCellValue<long>> reading = reader.ReadAsync(TestTime.Seconds(60), Token).AsTask();
        cell.Write(2);
        Assert.Equal(new RmaCellValue<long>(2, 2), await reading);
    }

    [Fact]
    public async Task WhatCannotBeReadSaysWhy()
    {
        RmaCellReader<long> reader = new(_endpoint, _test.Pool, _region);
        RmaCellException error = await Assert.ThrowsAsync<RmaCellException>(() => reader.ReadAsync(cancellationToken: Token).AsTask());
        Assert.Contains("its memory begins with the bytes 00 00 instead of A7 43, so no RmaCell was created there", error.Message, StringComparison.Ordinal);
        Assert.False(error.IsTransient);
        RmaCell<long> cell = new(_buffer, 1);
        _buffer.Span[24] ^= 1;
        error = await Assert.ThrowsAsync<RmaCellException>(() => reader.ReadAsync(TimeSpan.Zero, Token).AsTask());
        Assert.Contains("could not be read in 0, by 1 read: its sequence stayed 2, with no write in progress, but its check value does not match its value", error.Message, StringComparison.Ordinal);
        cell.Write(2);
        Assert.Equal(2, (await reader.ReadAsync(TimeSpan.Zero, Token)).Value);
        error = await Assert.ThrowsAsync<RmaCellException>(() => new RmaCellReader<int>(_endpoint, _test.Pool, _region).ReadAsync(cancellationToken: Token).AsTask());
        Assert.Contains("its value has 8 bytes, and 4 are expected: writer and reader must use the same type", error.Message, StringComparison.Ordinal);
        _buffer.Span[2] = 9;
        error = await Assert.ThrowsAsync<RmaCellException>(() => reader.ReadAsync(cancellationToken: Token).AsTask());
        Assert.Contains("it has version 9 of the format, and this library reads version 1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AWriterThatLeavesNoTimeIsReported()
    {
        RmaCell<long> cell = new(_buffer, 1);
        FakeTimeProvider time = new();
        // Each time the clock is read, a write begins and an hour passes.
        byte step = 2;
        WritingClock clock = new(time, () => _buffer.Span[8] += step);
        _buffer.Span[8] = 3;
        RmaCellReader<long> reader = new(_endpoint, _test.Pool, _region, clock);
        RmaCellException error = await Assert.ThrowsAsync<RmaCellException>(() => reader.ReadAsync(TimeSpan.FromHours(2.5), Token).AsTask());
        Assert.Contains("by 3 reads: it was being written each time (sequence 5 at first, 9 at last)", error.Message, StringComparison.Ordinal);
        step = 0;
        cell.Write(2);
        Assert.Equal(2, (await reader.ReadAsync(TimeSpan.FromHours(2.5), Token)).Value);
    }

    private sealed class WritingClock(FakeTimeProvider time, Action onAsked) : TimeProvider
    {
        public override long TimestampFrequency => time.TimestampFrequency;

        public override long GetTimestamp()
        {
            onAsked();
            time.Advance(TimeSpan.FromHours(1));
            return time.GetTimestamp();
        }
    }

    [Fact]
    public async Task AReadEndsWhenItIsCancelled()
    {
        _ = new RmaCell<long>(_buffer, 1);
        _buffer.Span[8] = 3;
        using CancellationTokenSource cancel = new();
        Task reading = new RmaCellReader<long>(_endpoint, _test.Pool, _region).ReadAsync(Timeout.InfiniteTimeSpan, cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading);
        Assert.True(SpinWait.SpinUntil(() => _test.Statistics.RentedBuffers == 1, TestTime.Seconds(30)));
    }

    [Fact]
    public void WritesAllocateNothing()
    {
        RmaCell<long> cell = new(_buffer, 1);
        ThreadAllocations allocations = new();
        for (int round = 0; round < 50; round++)
        {
            allocations.Begin();
            cell.Write(round);
            allocations.End();
        }
        allocations.AssertNone();
        Assert.Equal((49, 51), (cell.Value, cell.Version));
    }

    [Fact]
    public async Task SeveralThreadsOfTheWriterMayWrite()
    {
        RmaCell<(long, long)> cell = new(_buffer);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(
            () =>
            {
                for (long i = 0; i < 1000; i++)
                    cell.Write((i, -i));
            }, Token)));
        Assert.Equal(4001, cell.Version);
        RmaCellValue<(long, long)> read = await new RmaCellReader<(long, long)>(_endpoint, _test.Pool, _region).ReadAsync(cancellationToken: Token);
        Assert.Equal((4001, (999L, -999L), cell.Value), (read.Version, read.Value, read.Value));
    }

    /// <summary>The padding of a copied value may differ from that of the original.</summary>
    [Fact]
    public async Task WhatLiesBetweenTheFieldsOfAValueDoesNotMatter()
    {
        RmaCell<(long, byte)> cell = new(_buffer);
        var reader = new RmaCellReader<(long, byte)>(_endpoint, _test.Pool, _region);
        byte[] bytes = new byte[16];
        for (int i = 0; i < 256; i++)
        {
            bytes.AsSpan().Fill((byte)i);
            (long, byte) value = MemoryMarshal.Read<(long, byte)>(bytes);
            cell.Write(value);
            Assert.Equal(value, (await reader.ReadAsync(TimeSpan.Zero, Token)).Value);
        }
    }

    [Fact]
    public async Task MistakesAreSaid()
    {
        Assert.Throws<ArgumentException>("memory", () => new RmaCell<long>(_buffer.Slice(0, 31)));
        Assert.Throws<ArgumentException>("memory", () => new RmaCell<long>(_buffer.Slice(4)));
        Assert.Throws<ArgumentException>("cell", () => new RmaCellReader<long>(_endpoint, _test.Pool, _region.Slice(0, 31)));
        Assert.Throws<ArgumentException>("cell", () => new RmaCellReader<long>(_endpoint, _test.Pool, default));
        Assert.Throws<ArgumentNullException>("endpoint", () => new RmaCellReader<long>(null!, _test.Pool, _region));
        Assert.Throws<ArgumentNullException>("pool", () => new RmaCellReader<long>(_endpoint, null!, _region));
        RmaCellReader<long> reader = new(_endpoint, _test.Pool, _region);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>("timeout", () => reader.ReadAsync(TimeSpan.FromSeconds(-2), Token).AsTask());
        RmaBuffer other = _test.Pool.Rent(100);
        RmaCell<long> cell = new(other);
        other.Dispose();
        Assert.Throws<InvalidOperationException>(() => cell.Write(1));
        Assert.Equal(1, cell.Version);
    }
}
