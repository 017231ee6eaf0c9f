using System.Buffers;
using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Collections;

/// <summary>
/// A stream in registered memory, like a <see cref="MemoryStream"/> of pooled blocks. Its bytes are written to a peer
/// by one batch, without a copy, and a peer's memory is read into it by one batch. Disposing it returns the blocks.
/// </summary>
/// <remarks>
/// It grows by blocks of equal length, so bytes are never moved, and it may be longer than 2 GiB. It does not release
/// blocks before it is disposed, so a stream that is reused (<see cref="SetLength"/> 0) rents nothing. It must be used
/// by one thread at a time, and not while operations with it run.
/// </remarks>
/// <example>
/// <code>
/// await using RmaStream stream = new(pool);
/// await System.Text.Json.JsonSerializer.SerializeAsync(stream, new[] { 1, 2, 3 }, cancellationToken: cancellationToken);
/// RmaBatch batch = endpoint.CreateBatch();
/// stream.WriteTo(batch, remote);
/// await batch.RunAsync(cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed class RmaStream : Stream
{
    /// <summary>The default length of a block: 64 KiB.</summary>
    public const int DefaultBlockLength = 64 << 10;

    private readonly IRmaMemoryPool _pool;
    private readonly int _blockLength;
    private readonly List<RmaBuffer> _blocks = [];
    private long _length;
    private long _position;
    private bool _isClosed;

    // 0 <= _length <= Capacity = _blocks.Count * _blockLength. Bytes after _length are undefined.

    /// <summary>Creates an empty stream, which rents its first block when it is first written to.</summary>
    /// <param name="pool">The pool that blocks come from.</param>
    /// <param name="blockLength">The length of a block in bytes, 1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less.</exception>
    public RmaStream(IRmaMemoryPool pool, int blockLength = DefaultBlockLength)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockLength);
        _pool = pool;
        _blockLength = blockLength;
    }

    /// <summary>The number of bytes that fit before another block is rented.</summary>
    public long Capacity => (long)_blocks.Count * _blockLength;

    /// <inheritdoc/>
    public override bool CanRead => !_isClosed;

    /// <inheritdoc/>
    public override bool CanSeek => !_isClosed;

    /// <inheritdoc/>
    public override bool CanWrite => !_isClosed;

    /// <inheritdoc/>
    public override long Length
    {
        get
        {
            ThrowIfClosed();
            return _length;
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public override long Position
    {
        get
        {
            ThrowIfClosed();
            return _position;
        }
        set
        {
            ThrowIfClosed();
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            _position = value;
        }
    }

    /// <inheritdoc/>
    public override int Read(Span<byte> buffer)
    {
        ThrowIfClosed();
        int read = (int)Math.Min(buffer.Length, Math.Max(0, _length - _position));
        for (int done = 0; done < read;)
        {
            Span<byte> source = PartAt(_position, read - done);
            source.CopyTo(buffer[done..]);
            done += source.Length;
            _position += source.Length;
        }
        return read;
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        return Read(buffer.AsSpan(offset, count));
    }

    /// <inheritdoc/>
    public override int ReadByte()
    {
        ThrowIfClosed();
        return _position < _length ? PartAt(_position++, 1)[0] : -1;
    }

    /// <inheritdoc/>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        cancellationToken.IsCancellationRequested ? ValueTask.FromCanceled<int>(cancellationToken) : new ValueTask<int>(Read(buffer.Span));

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    /// <inheritdoc/>
    /// <exception cref="RmaPoolExhaustedException">Another block is needed, and the cap leaves no room; nothing was written.</exception>
    /// <exception cref="RmaRegistrationException">Another block is needed, and more memory could not be registered; nothing was written.</exception>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        ThrowIfClosed();
        long end = EndOf(buffer.Length);
        while (Capacity < end)
            _blocks.Add(_pool.Rent(_blockLength));
        WriteWithin(buffer, end);
    }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count)
    {
        ValidateBufferArguments(buffer, offset, count);
        Write(buffer.AsSpan(offset, count));
    }

    /// <inheritdoc/>
    public override void WriteByte(byte value) => Write(new ReadOnlySpan<byte>(in value));

    /// <summary>Writes bytes. If the pool's cap leaves no room for another block, it waits like <see cref="IRmaMemoryPool.RentAsync"/>.</summary>
    /// <param name="buffer">The bytes to write.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="RmaPoolExhaustedException">There was no room in time; nothing was written.</exception>
    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled(cancellationToken);
        ThrowIfClosed();
        long end = EndOf(buffer.Length);
        if (Capacity < end)
            return GrowAndWriteAsync(buffer, end, cancellationToken);
        WriteWithin(buffer.Span, end);
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override Task FlushAsync(CancellationToken cancellationToken) =>
        cancellationToken.IsCancellationRequested ? Task.FromCanceled(cancellationToken) : Task.CompletedTask;

    /// <inheritdoc/>
    /// <exception cref="IOException">The position is before the start.</exception>
    public override long Seek(long offset, SeekOrigin origin)
    {
        ThrowIfClosed();
        long from = origin switch
        {
            SeekOrigin.Begin => 0,
            SeekOrigin.Current => _position,
            SeekOrigin.End => _length,
            _ => throw new ArgumentOutOfRangeException(nameof(origin), $"The origin must be Begin, Current or End, not {origin}."),
        };
        if (offset < -from || offset > long.MaxValue - from)
            throw new IOException($"Offset {InWords.Number(offset)} from {origin} is before the start of the stream, or beyond its maximum length.");
        return _position = from + offset;
    }

    /// <summary>Sets the length. Added bytes are zero; blocks are kept even if the stream becomes shorter.</summary>
    /// <param name="value">Bytes, 0 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is negative, or needs too many blocks.</exception>
    /// <exception cref="RmaPoolExhaustedException">Another block is needed, and the cap leaves no room; the length is unchanged.</exception>
    /// <exception cref="RmaRegistrationException">Another block is needed, and more memory could not be registered; the length is unchanged.</exception>
    public override void SetLength(long value)
    {
        ThrowIfClosed();
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(value, (long)int.MaxValue * _blockLength);
        while (Capacity < value)
            _blocks.Add(_pool.Rent(_blockLength));
        ClearTo(value);
        _length = value;
        _position = Math.Min(_position, value);
    }

    /// <inheritdoc/>
    public override void CopyTo(Stream destination, int bufferSize)
    {
        ValidateCopyToArguments(destination, bufferSize);
        ThrowIfClosed();
        while (_position < _length)
        {
            Span<byte> part = PartAt(_position, _length - _position);
            destination.Write(part);
            _position += part.Length;
        }
    }

    /// <inheritdoc/>
    public override Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken)
    {
        ValidateCopyToArguments(destination, bufferSize);
        ThrowIfClosed();
        return CopyAsync();

        async Task CopyAsync()
        {
            while (_position < _length)
            {
                RmaSlice part = SliceAt(_position, _length - _position);
                await destination.WriteAsync(part.Buffer.Memory.Slice((int)part.Offset, (int)part.Length), cancellationToken).ConfigureAwait(false);
                _position += part.Length;
            }
        }
    }

    /// <summary>
    /// Returns all bytes, whatever the position, in one or several segments, which are valid until the stream is
    /// changed. It allocates an object for each.
    /// </summary>
    public ReadOnlySequence<byte> GetReadOnlySequence()
    {
        ThrowIfClosed();
        return BlockSequence.Of(Slices());
    }

    /// <summary>Adds writes of all bytes to a batch, one for each block, one after the other at the destination.</summary>
    /// <param name="batch">The batch; the stream must not be changed or disposed before the last run of the batch.</param>
    /// <param name="destination">The destination: at least <see cref="Length"/> bytes of a peer's memory.</param>
    /// <returns>The number of writes that were added.</returns>
    /// <exception cref="ArgumentException">The destination is too short, and nothing was added; or as for <see cref="RmaBatch.Write(RmaSlice, RemoteSlice)"/>.</exception>
    /// <exception cref="InvalidOperationException">The batch runs, or the peer did not expose its memory for writing.</exception>
    public int WriteTo(RmaBatch batch, RemoteSlice destination)
    {
        ThrowIfClosed();
        return BlockSequence.WriteTo(batch, Slices(), _length, destination);
    }

    /// <summary>Sets the length to that of a peer's memory, and adds reads of it to a batch, one for each block. The position becomes 0.</summary>
    /// <param name="batch">The batch; the stream has the bytes after the run, and must not be changed or disposed before that.</param>
    /// <param name="source">The memory to read.</param>
    /// <returns>The number of reads that were added.</returns>
    /// <exception cref="ArgumentException">As for <see cref="RmaBatch.Read(RmaSlice, RemoteSlice)"/>.</exception>
    /// <exception cref="InvalidOperationException">The batch runs, or the peer did not expose its memory for reading.</exception>
    /// <inheritdoc cref="SetLength" path="/exception[@cref='T:AllocTools.RmaPoolExhaustedException']"/>
    public int ReadFrom(RmaBatch batch, RemoteSlice source)
    {
        ArgumentNullException.ThrowIfNull(batch);
        SetLength(source.Length);
        _position = 0;
        int count = 0;
        long offset = 0;
        foreach (RmaSlice slice in Slices())
        {
            batch.Read(slice, source.Slice(offset, slice.Length));
            offset += slice.Length;
            count++;
        }
        return count;
    }

    /// <summary>Returns all blocks, as <see cref="RmaBuffer.Dispose"/> does; a second call does nothing.</summary>
    /// <param name="disposing">True.</param>
    /// <exception cref="InvalidOperationException">A block is pinned, and stays rented until the stream is disposed again; the others were returned.</exception>
    protected override void Dispose(bool disposing)
    {
        _isClosed = true;
        _length = 0;
        BlockSequence.Return(_blocks);
        base.Dispose(disposing);
    }

    private async ValueTask GrowAndWriteAsync(ReadOnlyMemory<byte> buffer, long end, CancellationToken cancellationToken)
    {
        while (Capacity < end)
        {
            RmaBuffer block = await _pool.RentAsync(_blockLength, cancellationToken).ConfigureAwait(false);
            // Otherwise it would never be returned.
            if (_isClosed)
                block.Dispose();
            ThrowIfClosed();
            _blocks.Add(block);
        }
        WriteWithin(buffer.Span, end);
    }

    private void WriteWithin(ReadOnlySpan<byte> buffer, long end)
    {
        ClearTo(_position);
        while (!buffer.IsEmpty)
        {
            Span<byte> target = PartAt(_position, buffer.Length);
            buffer[..target.Length].CopyTo(target);
            buffer = buffer[target.Length..];
            _position += target.Length;
        }
        _length = Math.Max(_length, end);
    }

    /// <summary>Sets skipped bytes to zero.</summary>
    private void ClearTo(long end)
    {
        for (long at = _length; at < end;)
        {
            Span<byte> part = PartAt(at, end - at);
            part.Clear();
            at += part.Length;
        }
    }

    private long EndOf(int count)
    {
        if (_position > ((long)int.MaxValue * _blockLength) - count)
            throw new IOException($"A stream of blocks of {InWords.Bytes(_blockLength)} has at most {InWords.Number(int.MaxValue)} of them; {InWords.Bytes(count)} at position {InWords.Number(_position)} would exceed that.");
        return _position + count;
    }

    private Span<byte> PartAt(long position, long most) => SliceAt(position, most).Span;

    /// <summary>Returns the bytes from a position on, up to the end of its block.</summary>
    private RmaSlice SliceAt(long position, long most)
    {
        (long block, long offset) = Math.DivRem(position, _blockLength);
        return new RmaSlice(_blocks[(int)block], offset, Math.Min(most, _blockLength - offset));
    }

    private IEnumerable<RmaSlice> Slices()
    {
        for (long at = 0; at < _length; at += _blockLength)
            yield return SliceAt(at, _length - at);
    }

    private void ThrowIfClosed() => ObjectDisposedException.ThrowIf(_isClosed, this);
}
