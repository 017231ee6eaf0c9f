using System.Numerics;

namespace AllocTools.Connections.Rings;

/// <summary>The pool memory in which a writer builds its frames, each with room for its header before the payload.</summary>
/// <remarks>
/// One piece is filled at a time, frame after frame. The first one is small; if it was full before its contents were
/// written, the next one is larger. A small idle piece stays until <see cref="Trim"/>, a larger one as long as all
/// connections together stay within <see cref="StagingShare"/>. The caller of any member except <see cref="Rent"/> must
/// hold the writer's lock.
/// </remarks>
internal sealed class Staging(IRmaMemoryPool pool, FrameForm form, StagingShare share, Leftovers leftovers)
{
    /// <summary>The length of the first piece in bytes.</summary>
    public const int Least = 1 << 10;

    /// <summary>The longest frame, including its header: 64 KiB of payload in one write.</summary>
    public const int MostFrame = (64 << 10) + FrameHeader.Length;

    /// <summary>The length of a piece for many small frames, in bytes.</summary>
    private const int Usual = 64 << 10;

    /// <summary>
    /// The size of the largest piece. A piece of more than <see cref="Usual"/> uses the whole block of the pool, up to
    /// this size.
    /// </summary>
    private const int Most = 1 << 20;

    /// <summary>How many bytes of payload a piece must have left for another frame.</summary>
    private const int FewestPayload = 64;

    private StagingChunk? _chunk;
    private int _start = -1;
    private int _cursor;
    private int _nextLength = Least;
    private int _kept;

    /// <summary>Whether a frame is open.</summary>
    public bool HasFrame => _start >= 0;

    /// <summary>Whether the writer is filling it now, outside the lock.</summary>
    public bool IsBusy { get; set; }

    /// <summary>The bytes of payload in the open frame.</summary>
    public int Payload => HasFrame ? _cursor - _start - form.HeaderLength : 0;

    /// <summary>Rents memory for another piece. The caller must not hold the lock.</summary>
    /// <param name="payload">The payload that a frame in it must hold, up to <see cref="MostFrame"/> less a header.</param>
    /// <exception cref="RmaException">The pool has no room.</exception>
    public StagingChunk Rent(int payload)
    {
        int length = Math.Max(Volatile.Read(ref _nextLength), (int)BitOperations.RoundUpToPowerOf2((uint)(payload + form.HeaderLength)));
        RmaBuffer buffer = pool.Rent(length);
        if (length > Usual && buffer.Capacity > length && length < Most)
        {
            length = (int)Math.Min(buffer.Capacity, Most);
            buffer.Dispose();
            buffer = pool.Rent(length);
        }
        try
        {
            return new StagingChunk(buffer);
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <summary>Sets the piece that is filled next.</summary>
    public void Take(StagingChunk chunk)
    {
        Retire();
        _chunk = chunk;
    }

    /// <summary>Gets the room of the open frame.</summary>
    /// <returns>False: no frame is open, or it has less room than <paramref name="size"/>.</returns>
    public bool TryGetRoom(int size, int mostFrame, out Memory<byte> room)
    {
        room = default;
        if (!HasFrame)
            return false;
        int length = Math.Min(_start + mostFrame, _chunk!.Length) - _cursor;
        if (length < size)
            return false;
        room = _chunk.Memory.Slice(_cursor, length);
        return true;
    }

    /// <summary>Opens a frame.</summary>
    /// <returns>False: another piece is needed; call <see cref="Rent"/> and <see cref="Take"/>.</returns>
    public bool TryOpen(int size, int mostFrame, out Memory<byte> room)
    {
        room = default;
        if (_chunk is not { } chunk)
            return false;
        int needed = form.HeaderLength + Math.Max(size, FewestPayload);
        if (chunk.Uses == 0 && chunk.Length - chunk.Used < needed)
            chunk.Used = 0;
        if (chunk.Length - chunk.Used < needed)
        {
            if (chunk.Uses > 0)
                _nextLength = Math.Min(Usual, Math.Max(_nextLength, chunk.Length) * 16);
            Retire();
            return false;
        }
        if (_kept > 0)
        {
            share.GiveUp(_kept);
            _kept = 0;
        }
        _start = chunk.Used;
        _cursor = _start + form.HeaderLength;
        return TryGetRoom(size, mostFrame, out room);
    }

    /// <summary>Called when bytes were written into the open frame.</summary>
    public void Advance(int bytes) => _cursor += bytes;

    /// <summary>Keeps the current piece until it is released once more.</summary>
    public StagingChunk Hold()
    {
        _chunk!.Uses++;
        return _chunk;
    }

    /// <summary>Stops filling the current piece, which is held.</summary>
    public void LetGo() => Retire();

    /// <summary>Closes the open frame, if there is one; it is dropped if it is empty.</summary>
    /// <returns>True: there is a frame to be queued.</returns>
    public bool TryClose(out StagingChunk chunk, out int start, out int payload)
    {
        (chunk, start, payload) = (_chunk!, _start, Payload);
        _start = -1;
        if (payload == 0)
        {
            Keep();
            return false;
        }
        chunk.Uses++;
        chunk.Used = Math.Min(chunk.Length, start + form.FrameLength(payload));
        // The padding is sent, too, and must not contain data of the pool's previous renter.
        if (_cursor < chunk.Used)
            chunk.Memory.Span[_cursor..chunk.Used].Clear();
        return true;
    }

    /// <summary>Called when frames were written or dropped.</summary>
    public void Release(StagingChunk chunk, int frames)
    {
        chunk.Uses -= frames;
        if (chunk.Uses > 0)
            return;
        if (chunk != _chunk)
            leftovers.Add_NeedsLock(chunk);
        else
            Keep();
    }

    /// <summary>Releases idle memory.</summary>
    public void Trim()
    {
        if (HasFrame || _chunk is { Uses: > 0 })
            return;
        _nextLength = Least;
        Retire();
    }

    /// <summary>Drops the contents of the open frame.</summary>
    public void Drop()
    {
        _start = -1;
        Trim();
    }

    /// <summary>Called when nothing more is filled.</summary>
    public void End()
    {
        _start = -1;
        Retire();
    }

    /// <summary>Keeps the current piece if it is idle and within the limit; otherwise releases it.</summary>
    private void Keep()
    {
        if (HasFrame || _chunk is not { Uses: 0 } chunk || _kept > 0)
            return;
        chunk.Used = 0;
        if (chunk.Length <= Least)
            return;
        if (share.TryKeep(chunk.Length))
            _kept = chunk.Length;
        else
            Retire();
    }

    /// <summary>Stops filling the current piece, which is released once its frames were written.</summary>
    private void Retire()
    {
        if (_kept > 0)
            share.GiveUp(_kept);
        _kept = 0;
        if (_chunk is { Uses: 0 } chunk)
            leftovers.Add_NeedsLock(chunk);
        _chunk = null;
    }
}

/// <summary>Limits the idle staging memory that the connections of a process may keep, beyond the first piece of each.</summary>
internal sealed class StagingShare
{
    private const long Most = 4 << 20;

    private long _kept;

    public bool TryKeep(int bytes)
    {
        if (Interlocked.Add(ref _kept, bytes) <= Most)
            return true;
        GiveUp(bytes);
        return false;
    }

    public void GiveUp(int bytes) => Interlocked.Add(ref _kept, -bytes);
}
