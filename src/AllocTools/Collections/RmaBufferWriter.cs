using System.Buffers;
using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <summary>
/// A writer for serializers (<see cref="IBufferWriter{T}"/>) in registered memory. It rents segments as it grows, and
/// writes them to a peer by one batch, without a copy. Disposing it returns the segments.
/// </summary>
/// <remarks>
/// <para>
/// A segment is filled as far as the requested sizes allow; written bytes are never moved. <see cref="Clear"/> keeps
/// the segments, so that a writer that is reused rents nothing and allocates nothing.
/// </para>
/// <para>Like any writer, it must be used by one thread at a time.</para>
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
    /// <summary>The default length of a segment: 64 KiB.</summary>
    public const int DefaultSegmentLength = 64 << 10;

    private readonly IRmaMemoryPool _pool;
    private readonly int _segmentLength;

    // The first _used of them have been written to, _used - 1 of them to their end; the rest was kept by Clear.
    private readonly List<Segment> _segments = [];
    private int _used;
    private Segment? _last;
    private bool _isDisposed;

    /// <summary>Creates a writer, which rents its first segment when it is first used.</summary>
    /// <param name="pool">The pool that segments come from.</param>
    /// <param name="segmentLength">The length of a segment in bytes, 1 or more. A segment is longer if one request needs more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less.</exception>
    public RmaBufferWriter(IRmaMemoryPool pool, int segmentLength = DefaultSegmentLength)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(segmentLength);
        _pool = pool;
        _segmentLength = segmentLength;
    }

    /// <summary>The number of written bytes.</summary>
    public long WrittenCount { get; private set; }

    /// <summary>The number of segments with written bytes.</summary>
    public int SegmentCount => _last is { Written: 0 } ? _used - 1 : _used;

    /// <summary>Returns the written bytes of a segment, for an operation.</summary>
    /// <param name="index">From 0 to <see cref="SegmentCount"/> - 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such segment.</exception>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public RmaSlice GetSegment(int index)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if ((uint)index >= (uint)SegmentCount)
            throw new ArgumentOutOfRangeException(nameof(index), $"Segment {index} is out of range: there are {InWords.Count(SegmentCount, "segment", "segments")}.");
        return new RmaSlice(_segments[index].Buffer, 0, _segments[index].Written);
    }

    /// <summary>Returns memory to write to; call <see cref="Advance"/> with the number of written bytes.</summary>
    /// <param name="sizeHint">The minimum number of bytes, 0 for any. The memory always has one byte or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative, or more than the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">Another segment is needed, and the cap leaves no room; written bytes are kept.</exception>
    /// <exception cref="RmaRegistrationException">Another segment is needed, and more memory could not be registered; written bytes are kept.</exception>
    /// <exception cref="ObjectDisposedException">The writer or its pool is disposed.</exception>
    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Segment segment = SegmentFor(sizeHint);
        return segment.Memory[segment.Written..];
    }

    /// <summary>Like <see cref="GetMemory"/>, but as a span.</summary>
    /// <inheritdoc cref="GetMemory" path="/param"/>
    /// <inheritdoc cref="GetMemory" path="/exception"/>
    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Segment segment = SegmentFor(sizeHint);
        return segment.Buffer.Span[segment.Written..];
    }

    /// <summary>Declares how many bytes were written to the memory that was last requested.</summary>
    /// <param name="count">Bytes, 0 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    /// <exception cref="InvalidOperationException">It exceeds that memory.</exception>
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

    /// <summary>Returns the written bytes, in one or several segments. It allocates an object for each.</summary>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public ReadOnlySequence<byte> GetReadOnlySequence()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return BlockSequence.Of(Slices());
    }

    /// <summary>Adds writes of the written bytes to a batch, one for each segment, one after the other at the destination.</summary>
    /// <param name="batch">The batch; the writer must not be cleared or disposed before the last run of the batch.</param>
    /// <param name="destination">The destination: at least <see cref="WrittenCount"/> bytes of a peer's memory.</param>
    /// <returns>The number of writes that were added.</returns>
    /// <exception cref="ArgumentException">The destination is too short, and nothing was added; or as for <see cref="RmaBatch.Write(RmaSlice, RemoteSlice)"/>.</exception>
    /// <exception cref="InvalidOperationException">The batch runs, or the peer did not expose its memory for writing.</exception>
    /// <exception cref="ObjectDisposedException">The writer is disposed.</exception>
    public int WriteTo(RmaBatch batch, RemoteSlice destination)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return BlockSequence.WriteTo(batch, Slices(), WrittenCount, destination);
    }

    /// <summary>
    /// Discards the written bytes, and keeps the segments for later writes. Segments that an operation or an exposure
    /// holds are not reused: they return to the pool when the last hold ends.
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
                // A segment that has been pinned meanwhile must still be returned by the writer.
                if (!held.IsRented)
                    _segments.RemoveAt(i);
            }
        }
    }

    /// <summary>Returns the segments without written bytes.</summary>
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

    /// <summary>Returns the number of written bytes and segments.</summary>
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
        // A segment that was requested but not written to does not count; it is kept for a later write that fits.
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

        /// <summary>Created once, so that reusing a segment costs nothing.</summary>
        public Memory<byte> Memory => _memory ??= Buffer.Memory;
    }
}
