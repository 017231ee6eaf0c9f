using System.Buffers;
using System.IO.Pipelines;
using System.IO.MemoryMappedFiles;
using AllocTools.Buffers;
using AllocTools.Collections;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Tests.Buffers;

/// <summary>
/// Tests parts of buffers as memory, and the way back from memory to the buffer; also sequences, and batches of them.
/// </summary>
public sealed class WayBackTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o => o.Access = RmaAccess.RemoteWrite);
    private readonly RmaBuffer _buffer;

    public WayBackTests()
    {
        _buffer = _test.Pool.Rent(1000);
        for (int i = 0; i < 1000; i++)
            _buffer.Span[i] = (byte)i;
    }

    public async ValueTask DisposeAsync()
    {
        _buffer.Dispose();
        await _test.DisposeAsync();
    }

    [Fact]
    public void PartsOfABufferAreFoundAgain()
    {
        AssertIs(0, 1000, _buffer.Memory);
        AssertIs(0, 1000, _buffer.AsMemory());
        AssertIs(100, 900, _buffer.AsMemory(100));
        AssertIs(1000, 0, _buffer.AsMemory(1000));
        AssertIs(100, 20, _buffer.AsMemory(100, 20));
        AssertIs(100, 890, _buffer.AsMemory(100..^10));
        AssertIs(990, 10, _buffer.AsMemory(^10..));
        AssertIs(130, 7, _buffer.AsMemory(100, 200).Slice(30, 7));
        AssertIs(140, 6, _buffer.Slice(100, 200).Slice(30).Memory.Slice(10, 6));
        AssertIs(400, 10, ((ReadOnlyMemory<byte>)_buffer.AsMemory(300))[100..110]);
    }

    [Fact]
    public void AnArrayOfBytesIsFoundAgain()
    {
        using RmaArray<byte> array = _test.Pool.RentArray<byte>(100);
        Assert.True(RmaSlice.TryGet(array.Memory[10..30], out RmaSlice slice));
        Assert.Equal((array.Buffer, 10, 20), (slice.Buffer, slice.Offset, slice.Length));
        // The part of the buffer after its last whole element does not belong to the array.
        Assert.Equal(100, array.Memory.Length);
    }

    [Fact]
    public void PartsOutsideOfTheBufferAreRefusedByName()
    {
        Assert.Equal("offset", Assert.Throws<ArgumentOutOfRangeException>(() => _buffer.AsMemory(1001)).ParamName);
        Assert.Equal("offset", Assert.Throws<ArgumentOutOfRangeException>(() => _buffer.AsMemory(-1, 1)).ParamName);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => _buffer.AsMemory(999, 2)).ParamName);
        Assert.Equal("range", Assert.Throws<ArgumentOutOfRangeException>(() => _buffer.AsMemory(..1001)).ParamName);
        Assert.Throws<InvalidOperationException>(() => default(RmaBuffer).Memory);
        Assert.Throws<InvalidOperationException>(() => default(RmaBuffer).AsMemory(0));
        Assert.Throws<InvalidOperationException>(() => default(RmaSlice).Memory);
        RmaBuffer returned = _test.Pool.Rent(10);
        RmaSlice slice = returned;
        returned.Dispose();
        Assert.Throws<InvalidOperationException>(() => returned.AsMemory(5));
        Assert.Throws<InvalidOperationException>(() => slice.Memory);
    }

    [Fact]
    public async Task PartsOfABufferOverTwoGibibytesAreMemory()
    {
        const long Length = 3L << 30;
        await using var large = new TestPool(o => o.MaxRegisteredBytes = 4L << 30);
        // Pages are allocated only when they are touched.
        using var file = MemoryMappedFile.CreateNew(null, Length);
        using MemoryMappedViewAccessor view = file.CreateViewAccessor();
        using RmaBuffer buffer = large.Pool.Register(view.SafeMemoryMappedViewHandle.DangerousGetHandle(), Length);
        Assert.Contains("more than a span or memory can hold", Assert.Throws<InvalidOperationException>(() => buffer.Memory).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => buffer.AsMemory());
        Assert.Throws<InvalidOperationException>(() => buffer.AsMemory(0, 1L << 31));
        Memory<byte> end = buffer.AsMemory(Length - 10);
        end.Span.Fill(7);
        Assert.True(RmaSlice.TryGet(end[2..], out RmaSlice slice));
        Assert.Equal((Length - 8, 8), (slice.Offset, slice.Length));
        Assert.Equal(7, view.ReadByte(Length - 1));
    }

    [Fact]
    public void OtherMemoryIsNoBuffers()
    {
        Assert.False(RmaSlice.TryGet(default, out RmaSlice slice));
        Assert.False(RmaSlice.TryGet(new byte[10], out slice));
        using IMemoryOwner<byte> shared = MemoryPool<byte>.Shared.Rent(10);
        Assert.False(RmaSlice.TryGet(shared.Memory, out slice));
        using var other = new OtherManager();
        Assert.False(RmaSlice.TryGet(other.Memory, out slice));
        Assert.True(slice.Buffer.IsDefault);
    }

    [Fact]
    public void ASequenceIsOursAsAWholeOrNotAtAll()
    {
        using RmaMemoryOwner owner = _test.Pool.AsMemoryPool().Rent(100);
        List<RmaSlice> slices = [];
        Assert.True(RmaSlice.TryGet(Sequence.Of(_buffer.AsMemory(10, 20), _buffer.AsMemory(0, 0), owner.Memory[..30]), slices));
        Assert.Equal([(_buffer, 10L, 20L), (owner.Buffer, 0L, 30L)], slices.Select(s => (s.Buffer, s.Offset, s.Length)));
        Assert.False(RmaSlice.TryGet(Sequence.Of(_buffer.AsMemory(10, 20), new byte[1]), slices));
        Assert.Equal(2, slices.Count);
        Assert.True(RmaSlice.TryGet(ReadOnlySequence<byte>.Empty, slices));
        Assert.Equal(2, slices.Count);
        Assert.Throws<ArgumentNullException>(() => RmaSlice.TryGet(ReadOnlySequence<byte>.Empty, null!));
    }

    [Fact]
    public async Task ABatchTakesASequenceAsAWholeOrNotAtAll()
    {
        await using IRmaEndpoint endpoint = _test.Context.OpenEndpoint();
        using RmaBuffer target = _test.Pool.Rent(100);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        await using var elsewhere = new TestPool();
        using RmaBuffer foreign = elsewhere.Pool.Rent(10);
        RmaBuffer returned = _test.Pool.Rent(10);
        Memory<byte> gone = returned.Memory;
        returned.Dispose();
        RmaBatch batch = endpoint.CreateBatch();
        Assert.Equal(0, batch.Write(_buffer.Slice(0, 1), remote.Slice(0, 1)));

        ReadOnlySequence<byte> mixed = Sequence.Of(_buffer.AsMemory(0, 20), new byte[10]);
        Assert.False(batch.TryWrite(mixed, remote));
        ArgumentException error = Assert.Throws<ArgumentException>(() => batch.Write(mixed, remote));
        Assert.Equal("source", error.ParamName);
        Assert.StartsWith("The segment at offset 20 of the sequence of 30 bytes is not memory of a buffer.", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<ArgumentException>(() => batch.TryWrite(Sequence.Of(_buffer.AsMemory(0, 60), _buffer.AsMemory(0, 41)), remote));
        Assert.Equal("source", error.ParamName);
        Assert.Contains("101 bytes exceeds the 100 bytes", error.Message, StringComparison.Ordinal);
        Assert.Equal("source", Assert.Throws<ArgumentException>(() => batch.Write(Sequence.Of(_buffer.AsMemory(0, 5)), default)).ParamName);
        Assert.Equal("source", Assert.Throws<ArgumentException>(() => batch.Write(Sequence.Of(_buffer.AsMemory(0, 5), foreign.Memory), remote)).ParamName);
        Assert.Throws<InvalidOperationException>(() => batch.Write(Sequence.Of(_buffer.AsMemory(0, 5), gone), remote));
        Assert.Equal(1, batch.Count);

        Assert.Equal(1, batch.Write(ReadOnlySequence<byte>.Empty, remote));
        Assert.Equal(1, batch.Write(Sequence.Of(_buffer.AsMemory(900, 30), _buffer.AsMemory(0, 0), _buffer.AsMemory(0, 70)), remote));
        Assert.Equal(3, batch.Count);
        await batch.RunAsync(cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(target.GetSpan(0, 30).SequenceEqual(_buffer.GetSpan(900, 30)));
        Assert.True(target.GetSpan(30, 70).SequenceEqual(_buffer.GetSpan(0, 70)));
    }

    /// <summary>Writes work whatever part of the sequence is memory of buffers, and however small the spare buffer is.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(1000)]
    public async Task ASequenceOfAnyMemoryIsWritten(int spareLength)
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        await using IRmaEndpoint endpoint = _test.Context.OpenEndpoint();
        using RmaBuffer target = _test.Pool.Rent(100);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(endpoint.InsertPeer(endpoint.Address.Span), exposure.Remote);
        using RmaBuffer spare = _test.Pool.Rent(spareLength);
        byte[] plain = [.. Enumerable.Range(100, 50).Select(static i => (byte)i)];
        ReadOnlySequence<byte>[] sequences =
        [
            Sequence.Of(_buffer.AsMemory(10, 20), plain, _buffer.AsMemory(0, 0), _buffer.AsMemory(900, 30)),
            Sequence.Of(plain, plain),
            Sequence.Of(_buffer.AsMemory(500, 100)),
            ReadOnlySequence<byte>.Empty,
        ];
        long[] copied = [50, 100, 0, 0];
        for (int i = 0; i < sequences.Length; i++)
        {
            target.Span.Clear();
            Assert.Equal(copied[i], await endpoint.WriteAsync(sequences[i], remote, spare, cancellationToken: token));
            Assert.Equal(sequences[i].ToArray(), target.GetSpan(0, sequences[i].Length).ToArray());
        }

        ArgumentException error = await Assert.ThrowsAsync<ArgumentException>(() => endpoint.WriteAsync(Sequence.Of(plain, plain, new byte[1]), remote, spare, cancellationToken: token).AsTask());
        Assert.StartsWith("The sequence of 101 bytes exceeds the 100 bytes of the destination.", error.Message, StringComparison.Ordinal);
        Assert.Equal("spare", (await Assert.ThrowsAsync<ArgumentException>(() => endpoint.WriteAsync(sequences[0], remote, default, cancellationToken: token).AsTask())).ParamName);
    }

    [Fact]
    public async Task APipeStopsAtTheLongestSegmentAndHasItsOwnDefaults()
    {
        PipeOptions options = _test.Pool.ToPipeOptions(maximumSegmentSize: 16 << 10);
        Assert.Equal(PipeOptions.Default.PauseWriterThreshold, options.PauseWriterThreshold);
        Assert.Equal(PipeOptions.Default.ResumeWriterThreshold, options.ResumeWriterThreshold);
        Assert.Equal(PipeOptions.Default.MinimumSegmentSize, options.MinimumSegmentSize);
        Assert.Equal(PipeOptions.Default.UseSynchronizationContext, options.UseSynchronizationContext);
        Assert.Same(PipeOptions.Default.ReaderScheduler, options.ReaderScheduler);
        Assert.Same(PipeOptions.Default.WriterScheduler, options.WriterScheduler);
        foreach (int size in (int[])[-2, 0, 101])
            Assert.Equal("minimumSegmentSize", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.ToPipeOptions(minimumSegmentSize: size, maximumSegmentSize: 100)).ParamName);

        var pipe = new Pipe(_test.Pool.ToPipeOptions(pauseWriterThreshold: 0, maximumSegmentSize: 16 << 10));
        for (int i = 0; i < 100; i++)
            await pipe.Writer.WriteAsync(new byte[1000], TestContext.Current.CancellationToken);
        ReadResult read = await pipe.Reader.ReadAsync(TestContext.Current.CancellationToken);
        List<RmaSlice> slices = [];
        Assert.True(RmaSlice.TryGet(read.Buffer, slices));
        Assert.All(slices, static s => Assert.Equal(16 << 10, s.Buffer.Length));
        Assert.Equal(100_000, slices.Sum(static s => s.Length));
        // A request for a single longer piece is served by the pipe's own memory.
        Assert.False(RmaSlice.TryGet(pipe.Writer.GetMemory((16 << 10) + 1), out _));
        pipe.Writer.Complete();
        pipe.Reader.Complete();
        Assert.Equal(1, _test.Statistics.RentedBuffers);
    }

    private void AssertIs(long offset, int length, ReadOnlyMemory<byte> memory)
    {
        Assert.Equal(length, memory.Length);
        Assert.True(memory.Span.SequenceEqual(_buffer.GetSpan(offset, length)));
        Assert.True(RmaSlice.TryGet(memory, out RmaSlice slice));
        Assert.Equal((_buffer, offset, length), (slice.Buffer, slice.Offset, slice.Length));
        Assert.Equal(_buffer.Address + (nint)offset, slice.Address);
    }

    private sealed class OtherManager : MemoryManager<byte>
    {
        private readonly byte[] _bytes = new byte[10];

        public override Span<byte> GetSpan() => _bytes;

        public override MemoryHandle Pin(int elementIndex = 0) => default;

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }

    private sealed class Sequence : ReadOnlySequenceSegment<byte>
    {
        public static ReadOnlySequence<byte> Of(params ReadOnlyMemory<byte>[] parts)
        {
            var first = new Sequence { Memory = parts[0] };
            Sequence last = first;
            foreach (ReadOnlyMemory<byte> part in parts[1..])
            {
                var next = new Sequence { Memory = part, RunningIndex = last.RunningIndex + last.Memory.Length };
                last.Next = next;
                last = next;
            }
            return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
        }
    }
}
