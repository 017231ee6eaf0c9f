using System.Buffers;
using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <summary>
/// What serializers write to (<see cref="IBufferWriter{T}"/>), in registered memory: the segments that it rents as it grows go
/// out as the writes of one batch, without a copy. Disposing it returns them.
/// </summary>
/// <remarks>
/// <para>
/// A segment is filled as far as the sizes allow that callers ask for; what was written is never moved. <see cref="Clear"/> keeps
/// the segments, so that a writer that is used again rents nothing and allocates nothing.
/// </para>
/// <para>One thread at a time uses it, as any writer.</para>
/// </remarks>
/// <example>
/// <code>
/// using RmaBufferWriter writer = new(pool);
/// using (System.Text.Json.Utf8JsonWriter json = new(writer))
///     System.Text.Json.JsonSerializer.Serialize(json, "hello");
/// RmaBatch batch = endpoint.CreateBatch();
/// writer.WriteTo(batch, remote);
/// await batch.RunAsync(cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed class RmaBufferWriter : IBufferWriter<byte>, IDisposable
{
    /// <summary>The length of a segment where nothing else is said: 64 KiB.</summary>
    public const int DefaultSegmentLength = 64 << 10;

    private readonly IRmaMemoryPool _pool;
    private readonly int _segmentLength;

    // The first _used of them have been written to, _used - 1 of them to their end; the rest was kept by Clear.
    private readonly List<Segment> _segments = [];
    private int _used;
    private Segment? _last;
    private bool _isDisposed;

    /// <summary>Makes a writer, which rents its first segment when it is first used.</summary>
    /// <param name="pool">Where segments come from.</param>
    /// <param name="segmentLength">Bytes of each, 1 or more; one that must hold more at once is longer.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less.</exception>
    public RmaBufferWriter(IRmaMemoryPool pool, int segmentLength = DefaultSegmentLength)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(segmentLength);
        _pool = pool;
        _segmentLength = segmentLength;
    }

    /// <summary>Bytes that were written.</summary>
    public long WrittenCount { get; private set; }

    /// <summary>How many segments have something written in them.</summary>
    public int SegmentCount => _last is { Written: 0 } ? _used - 1 : _used;

    /// <summary>What was written into a segment, for an operation.</summary>
    /// <param name="index">From 0 to <see cref="SegmentCount"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such segment.</exception>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public RmaSlice GetSegment(int index)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if ((uint)index >= (uint)SegmentCount)
            throw new ArgumentOutOfRangeException(nameof(index), $"Segment {index} is out of the {InWords.Count(SegmentCount, "segment", "segments")} that there are.");
        return new RmaSlice(_segments[index].Buffer, 0, _segments[index].Written);
    }

    /// <summary>Memory to write to; <see cref="Advance"/> says how much of it was.</summary>
    /// <param name="sizeHint">The least number of bytes, 0 for any. Memory always has one byte or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative, or more than the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">Another segment is needed, and the cap leaves no room; what was written stays.</exception>
    /// <exception cref="RmaRegistrationException">Another segment is needed, and more memory could not be registered; what was written stays.</exception>
    /// <exception cref="ObjectDisposedException">The writer or its pool is disposed.</exception>
    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Segment segment = SegmentFor(sizeHint);
        return segment.Memory[segment.Written..];
    }

    /// <summary>As <see cref="GetMemory"/>, as a span.</summary>
    /// <inheritdoc cref="GetMemory" path="/param"/>
    /// <inheritdoc cref="GetMemory" path="/exception"/>
    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Segment segment = SegmentFor(sizeHint);
        return segment.Buffer.Span[segment.Written..];
    }

    /// <summary>Says how many bytes were written to the memory that was last asked for.</summary>
    /// <param name="count">Bytes, 0 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    /// <exception cref="InvalidOperationException">It is more than that memory has.</exception>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public void Advance(int count)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        int room = _last is null ? 0 : _last.Length - _last.Written;
        if (count > room)
            throw new InvalidOperationException($"The writer can't advance by {InWords.Bytes(count)}: its memory has room for {InWords.Bytes(room)} more. Ask for memory of that size first.");
        if (_last is not null)
            _last.Written += count;
        WrittenCount += count;
    }

    /// <summary>What was written, in one piece or several. It makes an object for each.</summary>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public ReadOnlySequence<byte> GetReadOnlySequence()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return BlockSequence.Of(Slices());
    }

    /// <summary>Adds writes of what was written to a batch, one for each segment, one behind the other at the destination.</summary>
    /// <param name="batch">The batch; the writer must not be cleared or disposed before it was run the last time.</param>
    /// <param name="destination">Where to: <see cref="WrittenCount"/> bytes or more of a peer's memory.</param>
    /// <returns>How many writes were added.</returns>
    /// <exception cref="ArgumentException">The destination is too short, and nothing was added; or as <see cref="RmaBatch.Write(RmaSlice, RemoteSlice)"/> says.</exception>
    /// <exception cref="InvalidOperationException">The batch runs, or the peer did not expose its memory for writing.</exception>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public int WriteTo(RmaBatch batch, RemoteSlice destination)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return BlockSequence.WriteTo(batch, Slices(), WrittenCount, destination);
    }

    /// <summary>
    /// Forgets what was written, and keeps the segments for what comes next. Those that an operation or an exposure holds are
    /// not written over: they go back to the pool with the last hold.
    /// </summary>
    /// <exception cref="InvalidOperationException">A segment is pinned; nothing was changed.</exception>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public void Clear()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        foreach (Segment segment in _segments)
        {
            if (segment.Buffer.IsPinned)
                throw new InvalidOperationException("The writer can't be cleared: a segment of it is pinned. Dispose each MemoryHandle of Memory.Pin() first.");
        }
        WrittenCount = 0;
        _used = 0;
        _last = null;
        for (int i = _segments.Count - 1; i >= 0; i--)
        {
            _segments[i].Written = 0;
            if (!_segments[i].Buffer.IsHeld)
                continue;
            RmaBuffer held = _segments[i].Buffer;
            try
            {
                held.Dispose();
            }
            finally
            {
                // One that was pinned since is still the writer's to return.
                if (!held.IsRented)
                    _segments.RemoveAt(i);
            }
        }
    }

    /// <summary>Returns the segments that have nothing written in them.</summary>
    /// <exception cref="InvalidOperationException">One is pinned.</exception>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public void TrimExcess()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        int used = SegmentCount;
        for (int i = _segments.Count - 1; i >= used; i--)
        {
            _segments[i].Buffer.Dispose();
            _segments.RemoveAt(i);
        }
        _used = used;
        _last = used == 0 ? null : _segments[used - 1];
    }

    /// <summary>Returns all segments, as <see cref="RmaBuffer.Dispose"/> does; a second call does nothing.</summary>
    /// <exception cref="InvalidOperationException">A segment is pinned, and stays rented until this is called again; the others were returned.</exception>
    public void Dispose()
    {
        if (_isDisposed)
            return;
        List<RmaBuffer> buffers = [.. _segments.Select(s => s.Buffer)];
        _segments.Clear();
        _used = 0;
        _last = null;
        WrittenCount = 0;
        try
        {
            BlockSequence.Return(buffers);
            _isDisposed = true;
        }
        finally
        {
            _segments.AddRange(buffers.Select(b => new Segment(b)));
        }
    }

    /// <summary>How much was written, into how many segments.</summary>
    public override string ToString() => $"{InWords.Bytes(WrittenCount)} in {InWords.Count(SegmentCount, "segment", "segments")} of pool '{_pool.Name}'";

    private IEnumerable<RmaSlice> Slices()
    {
        for (int i = 0; i < SegmentCount; i++)
            yield return GetSegment(i);
    }

    private Segment SegmentFor(int sizeHint)
    {
        int least = Math.Max(sizeHint, 1);
        if (_last is { } last && last.Length - last.Written >= least && sizeHint >= 0)
            return last;
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(sizeHint);
        // One that was asked for and not written to is no segment: it is kept for something that it has room for.
        int used = SegmentCount;
        int next = used;
        while (next < _segments.Count && _segments[next].Length < least)
            next++;
        if (next == _segments.Count)
            _segments.Add(new Segment(Rent(Math.Max(least, _segmentLength), sizeHint)));
        (_segments[used], _segments[next]) = (_segments[next], _segments[used]);
        _used = used + 1;
        return _last = _segments[used];
    }

    private RmaBuffer Rent(int length, int sizeHint)
    {
        try
        {
            return _pool.Rent(length);
        }
        catch (ArgumentOutOfRangeException)
        {
            throw new ArgumentOutOfRangeException(
                nameof(sizeHint), $"A segment of {InWords.Size(length)} was needed (sizeHint {sizeHint}, segmentLength {_segmentLength}), but the pool '{_pool.Name}' has at most {InWords.Size(_pool.GetStatistics().LimitBytes)} (its option MaxRegisteredBytes).");
        }
    }

    private sealed class Segment(RmaBuffer buffer)
    {
        private Memory<byte>? _memory;

        public RmaBuffer Buffer { get; } = buffer;

        public int Length { get; } = (int)buffer.Length;

        public int Written { get; set; }

        /// <summary>Made once, so that a segment that is used again costs nothing.</summary>
        public Memory<byte> Memory => _memory ??= Buffer.Memory;
    }
}
