using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace AllocTools.Connections.Rings;

/// <content>Fills frames: bytes are copied in pieces, outside the lock.</content>
internal sealed partial class RingWriter
{
    /// <inheritdoc/>
    public override ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        lock (_gate)
        {
            ThrowIfUnusable_NeedsLock();
            _flush.ThrowIfActive_NeedsLock();
            TakeBackRoom_NeedsLock();
            _staging.IsBusy = true;
            _isWriting = true;
        }
        int copied = 0;
        bool hasRest = false;
        try
        {
            copied = source.IsEmpty ? 0 : Copy(source.Span);
            hasRest = copied < source.Length;
        }
        finally
        {
            // If the copy has failed, nothing of this call is written.
            _isWriting = hasRest;
            EndBusy();
        }
        return hasRest ? WriteRestAsync(source[copied..], cancellationToken) : FlushAsync(cancellationToken);
    }

    /// <summary>The longest frame: a quarter of the ring, limited by the staging memory.</summary>
    private int MostFrame_NeedsLock => Math.Min(Staging.MostFrame, _sender.Ring.MostFrame);

    /// <summary>Copies the rest of a write, with waits in between.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<FlushResult> WriteRestAsync(ReadOnlyMemory<byte> rest, CancellationToken cancellationToken)
    {
        bool isCancelled = false;
        OperationCanceledException? error = null;
        try
        {
            while (true)
            {
                FlushResult result = default;
                if (isCancelled || error is not null)
                {
                    Send();
                }
                else
                {
                    try
                    {
                        result = await FlushAsync(cancellationToken).ConfigureAwait(false);
                        isCancelled = result.IsCanceled;
                    }
                    catch (OperationCanceledException e)
                    {
                        error = e;
                    }
                }
                if (!rest.IsEmpty && !result.IsCompleted)
                    rest = rest[CopyNext(rest.Span)..];
                else if (error is not null)
                    throw error;
                else
                    return new FlushResult(isCancelled, result.IsCompleted);
            }
        }
        finally
        {
            _isWriting = false;
            EndBusy();
        }
    }

    /// <summary>Writes the available bytes without waiting.</summary>
    private void Send()
    {
        lock (_gate)
            Close_NeedsLock();
        _sender.Pump();
    }

    /// <summary>Copies another piece of a write of which earlier pieces are in flight: if that fails, the stream has a gap.</summary>
    private int CopyNext(ReadOnlySpan<byte> source)
    {
        lock (_gate)
            _staging.IsBusy = true;
        try
        {
            return Copy(source);
        }
        catch (Exception e)
        {
            _owner.OnWriteFailed(e);
            throw;
        }
        finally
        {
            EndBusy();
        }
    }

    /// <summary>Copies the first piece of bytes into a frame. The writer must be busy.</summary>
    /// <returns>The number of bytes.</returns>
    private int Copy(ReadOnlySpan<byte> source)
    {
        int size;
        lock (_gate)
        {
            ThrowIfUnusable_NeedsLock();
            if (_sender.IsDiscarding)
                return source.Length;
            size = Math.Min(source.Length, MostFrame_NeedsLock - _form.HeaderLength);
        }
        Span<byte> room = Reserve(size).Span;
        int length = Math.Min(source.Length, room.Length);
        source[..length].CopyTo(room);
        lock (_gate)
        {
            _staging.Advance(length);
            _unflushed += length;
        }
        return length;
    }

    /// <summary>
    /// Returns room for that many bytes in the open frame, or in a new one. The writer must be busy, so that the
    /// longest frame does not change meanwhile.
    /// </summary>
    private Memory<byte> Reserve(int size)
    {
        lock (_gate)
        {
            if (TryReserve_NeedsLock(size, out Memory<byte> room))
                return room;
        }
        StagingChunk chunk = _staging.Rent(size);
        lock (_gate)
        {
            _staging.Take(chunk);
            TryReserve_NeedsLock(size, out Memory<byte> room);
            return room;
        }
    }

    private bool TryReserve_NeedsLock(int size, out Memory<byte> room)
    {
        int most = MostFrame_NeedsLock;
        if (_staging.TryGetRoom(size, most, out room))
            return true;
        CloseFrame_NeedsLock();
        return _staging.TryOpen(size, most, out room);
    }

    private void EndBusy()
    {
        bool ends, drops;
        lock (_gate)
        {
            _staging.IsBusy = false;
            drops = _sender.IsDiscarding && _room.IsEmpty;
            if (drops)
                _staging.Drop();
            ends = _isCompleted && !_isWriting;
            if (ends)
                EndStream_NeedsLock();
        }
        if (ends)
            _sender.Pump();
        if (ends)
            _owner.CheckEnd();
        _leftovers.Dispose();
    }

    private void Close_NeedsLock()
    {
        CloseFrame_NeedsLock();
        _unflushed = 0;
        TakeBackRoom_NeedsLock();
    }

    /// <summary>
    /// Called when the open frame, which is still empty, can't have all of the room that the caller received. The
    /// caller keeps the room, and the bytes written to it are copied.
    /// </summary>
    private void Loosen_NeedsLock()
    {
        _held = _staging.Hold();
        _isLoose = true;
        CloseFrame_NeedsLock();
        _staging.LetGo();
    }

    /// <summary>Called when the caller may no longer write to the memory that it received.</summary>
    private void TakeBackRoom_NeedsLock()
    {
        _room = default;
        _isLoose = false;
        if (_held is { } held)
            _staging.Release(held, 1);
        _held = null;
    }

    /// <summary>Queues the open frame, if there is one.</summary>
    private void CloseFrame_NeedsLock()
    {
        if (!_staging.HasFrame)
            return;
        if (_sender.IsDiscarding)
        {
            _staging.Drop();
        }
        else if (_staging.TryClose(out StagingChunk chunk, out int start, out int payload))
        {
            _position += payload;
            _sender.Enqueue_NeedsLock(chunk, start, payload);
        }
    }

    private void EndStream_NeedsLock()
    {
        Close_NeedsLock();
        _staging.End();
        _sender.EndStream_NeedsLock();
    }

    private FlushResult TakeResult()
    {
        lock (_gate)
            return TakeResult_NeedsLock();
    }

    private FlushResult TakeResult_NeedsLock()
    {
        var result = new FlushResult(_flush.IsCancelPending, _sender.IsDiscarding);
        _flush.IsCancelPending = false;
        return result;
    }

    private void ThrowIfUnusable_NeedsLock()
    {
        if (_isCompleted)
            throw new InvalidOperationException("Writing is not allowed after the writer was completed.");
    }
}
