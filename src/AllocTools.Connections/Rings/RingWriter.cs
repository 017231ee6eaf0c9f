using System.Diagnostics;
using System.IO.Pipelines;
using System.Runtime.InteropServices;
using System.Threading.Tasks.Sources;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Connections.Rings;

/// <summary>The writing end of a ring: frames are built in staging memory of the pool, and written from there to the peer's ring.</summary>
/// <remarks>
/// <para>
/// A frame is what was written between two flushes, or as much as a frame may have. It is written at once while fewer than
/// <see cref="MostInFlight"/> writes are on their way, and there is credit for it. What gathers meanwhile goes as one write, since frames
/// that follow each other in the staging memory do so in the ring.
/// </para>
/// <para>
/// Whoever has something to write pumps: the thread that flushes, and the one that finds the end of a write or new credit. One of them
/// does it for all; the others leave a note. Nothing is posted under the lock.
/// </para>
/// <para>
/// The reader may offer another ring. A larger one is taken at once, a smaller one when there is nothing to write: a header alone says so, as the last in the
/// old ring.
/// </para>
/// Invariants: _credit ≤ _sent; _sent ≤ max(_credit, _ringStart) + ring; a frame has at most a quarter of the ring.
/// </remarks>
internal sealed class RingWriter : PipeWriter, IValueTaskSource<FlushResult>, IThreadPoolWorkItem, IOperationOwner
{
    /// <summary>How many writes may be on their way. A power of two below the reader's window.</summary>
    private const int MostInFlight = 16;

    private const int MostSpares = 2;

    /// <summary>How many bytes a piece of staging memory must have left for another frame.</summary>
    private const int FewestPayload = 256;

    private static readonly Action<object?, CancellationToken> OnCancelled = static (writer, token) => ((RingWriter)writer!).CancelFlush(token);

    private readonly IRingOwner _owner;
    private readonly RingReader _reader;
    private readonly RingBlock _words;
    private readonly IRmaMemoryPool _pool;
    private readonly int _chunkLength;
    private readonly long _pauseAt;
    private readonly Lock _gate = new();
    private readonly Queue<Frame> _queue = new();
    private readonly Stack<StagingChunk> _spares = new();
    private readonly Write[] _writes = new Write[MostInFlight];
    private ManualResetValueTaskSourceCore<bool> _wake;

    // The frame that is being filled.
    private StagingChunk? _chunk;
    private int _frameStart = -1;
    private int _cursor;
    private byte[]? _loose;

    // The peer's ring, in bytes since the start.
    private RingTarget? _first;
    private RingTarget? _target;
    private RingTarget? _offered;
    private RingTarget? _left;
    private long _ringStart;
    private long _sent;
    private long _credit;
    private int _offset;
    private int _sequence;
    private ushort _freeWrites = ushort.MaxValue;
    private Post? _postponed;

    // The stream.
    private long _position;
    private long _outstanding;
    private long _stalledSince;
    private long _stalls;
    private long _stalledTime;
    private bool _isPumping;
    private bool _mustPumpAgain;
    private bool _isCompleted;
    private bool _isEndWritten;
    private bool _isDiscarding;
    private bool _isWaiting;
    private bool _isCancelPending;
    private CancellationToken _waitToken;
    private CancellationToken _cancelledBy;
    private CancellationTokenRegistration _cancellation;

    /// <param name="owner">The connection.</param>
    /// <param name="reader">The other direction, whose credit goes with the frames.</param>
    /// <param name="words">This side's first block: the source of a header by itself.</param>
    /// <param name="pool">Where staging memory comes from.</param>
    /// <param name="chunkLength">Bytes of a piece of staging memory.</param>
    /// <param name="pauseAt">How many bytes may wait or be on their way until a flush waits, too.</param>
    public RingWriter(IRingOwner owner, RingReader reader, RingBlock words, IRmaMemoryPool pool, int chunkLength, long pauseAt)
    {
        _owner = owner;
        _reader = reader;
        _words = words;
        _pool = pool;
        _chunkLength = chunkLength;
        _pauseAt = pauseAt;
    }

    /// <summary>Nothing is on its way, and nothing will be.</summary>
    public bool IsQuiet
    {
        get
        {
            lock (_gate)
                return (_isEndWritten || _isDiscarding) && _freeWrites == ushort.MaxValue;
        }
    }

    /// <summary>The application writes no more.</summary>
    public bool IsCompleted
    {
        get
        {
            lock (_gate)
                return _isCompleted;
        }
    }

    /// <summary>A flush waits.</summary>
    public bool IsFlushPending
    {
        get
        {
            lock (_gate)
                return _isWaiting;
        }
    }

    /// <summary>Bytes of the stream that were handed over to be written.</summary>
    public long Position => Volatile.Read(ref _position);

    /// <summary>How often a frame had to wait for credit.</summary>
    public long Stalls => Volatile.Read(ref _stalls);

    /// <summary>For how long frames have waited for credit.</summary>
    public TimeSpan StalledTime => Stopwatch.GetElapsedTime(0, Volatile.Read(ref _stalledTime));

    /// <inheritdoc/>
    public override bool CanGetUnflushedBytes => true;

    /// <inheritdoc/>
    public override long UnflushedBytes
    {
        get
        {
            lock (_gate)
                return _frameStart < 0 ? 0 : _cursor - _frameStart - FrameHeader.Length;
        }
    }

    /// <summary>The peer's ring is known: what waits is written.</summary>
    public void Start(RingTarget target)
    {
        lock (_gate)
            _first = _target = target;
        Pump();
    }

    /// <summary>The reader has another ring.</summary>
    /// <param name="target">The ring; null for the first one.</param>
    /// <returns>False: it has offered one already.</returns>
    public bool OnOffer(RingTarget? target)
    {
        lock (_gate)
        {
            if (_offered is not null || (target ?? _first) == _target)
                return false;
            _offered = target ?? _first;
        }
        Pump();
        return true;
    }

    /// <inheritdoc/>
    public override Memory<byte> GetMemory(int sizeHint = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sizeHint);
        int size = Math.Max(sizeHint, 1);
        lock (_gate)
        {
            ThrowIfCompleted_NeedsLock();
            if (_isDiscarding)
                Drop_NeedsLock();
            if (!_isDiscarding && size <= MostPayload)
            {
                _loose = null;
                return Reserve_NeedsLock(size);
            }
            // More than a frame has, or nobody reads it: memory of the heap, which is copied or dropped.
            return _loose = _loose?.Length >= size ? _loose : new byte[Math.Max(size, 4096)];
        }
    }

    /// <inheritdoc/>
    public override Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <inheritdoc/>
    public override void Advance(int bytes)
    {
        bool pumps = false;
        lock (_gate)
        {
            if (_loose is { } loose)
            {
                ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)bytes, (uint)loose.Length, nameof(bytes));
                _loose = null;
                for (ReadOnlySpan<byte> rest = loose.AsSpan(0, bytes); !rest.IsEmpty && !_isDiscarding; pumps = true)
                {
                    Span<byte> room = Reserve_NeedsLock(1).Span;
                    int part = Math.Min(rest.Length, room.Length);
                    rest[..part].CopyTo(room);
                    _cursor += part;
                    rest = rest[part..];
                }
            }
            else if (_isDiscarding)
            {
                Drop_NeedsLock();
            }
            else
            {
                int room = _frameStart < 0 ? 0 : RoomOfFrame_NeedsLock();
                ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)bytes, (uint)room, nameof(bytes));
                _cursor += bytes;
            }
        }
        if (pumps)
            Pump();
    }

    /// <inheritdoc/>
    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        lock (_gate)
        {
            if (_isWaiting)
                throw new InvalidOperationException("A flush of this connection is pending already.");
            CloseFrame_NeedsLock(FrameFlags.None);
        }
        Pump();
        short version;
        lock (_gate)
        {
            if (!MustWait_NeedsLock())
                return new ValueTask<FlushResult>(Result_NeedsLock());
            if (cancellationToken.IsCancellationRequested)
                return ValueTask.FromCanceled<FlushResult>(cancellationToken);
            _isWaiting = true;
            _waitToken = cancellationToken;
            _wake.Reset();
            version = _wake.Version;
        }
        if (cancellationToken.CanBeCanceled)
            _cancellation = cancellationToken.UnsafeRegister(OnCancelled, this);
        return new ValueTask<FlushResult>(this, version);
    }

    /// <inheritdoc/>
    public override void CancelPendingFlush()
    {
        bool wakes;
        lock (_gate)
        {
            _isCancelPending = true;
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            _owner.Schedule(this);
    }

    /// <inheritdoc/>
    public override void Complete(Exception? exception = null)
    {
        lock (_gate)
        {
            if (_isCompleted)
                return;
            CloseFrame_NeedsLock(FrameFlags.None);
            if (!_isDiscarding)
            {
                Reserve_NeedsLock(0);
                CloseFrame_NeedsLock(FrameFlags.EndOfStream);
            }
            _isCompleted = true;
        }
        Pump();
        _owner.OnWriterCompleted();
    }

    /// <summary>Nothing more is written: the peer reads no more, or the connection is over.</summary>
    public void Discard()
    {
        bool wakes;
        lock (_gate)
        {
            _isDiscarding = true;
            while (_queue.TryDequeue(out Frame frame))
                Release_NeedsLock(frame.Chunk, 1);
            if (_postponed is { } postponed)
                EndWrite_NeedsLock(postponed.Index);
            _postponed = null;
            _outstanding = 0;
            TrimIdle_NeedsLock();
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            _owner.Schedule(this);
    }

    /// <summary>The peer has given bytes of its ring back.</summary>
    /// <param name="credit">How many since the start.</param>
    /// <returns>False: it was never sent so much.</returns>
    public bool OnCredit(long credit)
    {
        lock (_gate)
        {
            if (credit > _sent)
                return false;
            // An older one may come later.
            if (credit <= _credit)
                return true;
            _credit = credit;
        }
        Pump();
        return true;
    }

    /// <summary>A write has ended.</summary>
    public void OnEnded(ulong context, Exception? error)
    {
        bool wakes;
        lock (_gate)
        {
            EndWrite_NeedsLock((int)context);
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            _owner.Schedule(this);
        if (error is not null)
            _owner.OnWriteFailed(error);
        Pump();
        _owner.OnOperationEnded();
    }

    /// <inheritdoc/>
    public void OnAbandoned(ulong context, Exception error)
    {
        _owner.OnWriteAbandoned();
        OnEnded(context, error);
    }

    /// <summary>Tries once more what found no place among the endpoint's operations.</summary>
    public void Retry() => Pump();

    /// <summary>Gives staging memory back that has had nothing to do.</summary>
    public void Trim()
    {
        lock (_gate)
            TrimIdle_NeedsLock();
    }

    FlushResult IValueTaskSource<FlushResult>.GetResult(short token)
    {
        _wake.GetResult(token);
        _cancellation.Unregister();
        _cancellation = default;
        lock (_gate)
        {
            if (_cancelledBy.CanBeCanceled)
            {
                CancellationToken by = _cancelledBy;
                _cancelledBy = default;
                throw new OperationCanceledException(by);
            }
            return Result_NeedsLock();
        }
    }

    ValueTaskSourceStatus IValueTaskSource<FlushResult>.GetStatus(short token) => _wake.GetStatus(token);

    void IValueTaskSource<FlushResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _wake.OnCompleted(continuation, state, token, flags);

    void IThreadPoolWorkItem.Execute()
    {
        try
        {
            _wake.SetResult(true);
        }
        catch (Exception e)
        {
            // Of whatever kind: it is the application's.
            InlineContinuation.ThrowOnPool(e);
        }
    }

    /// <summary>The most that a frame may have: a quarter of the ring, and what a piece of staging memory holds.</summary>
    private int MostPayload => Math.Min(_chunkLength, (_target?.Length / 4) ?? RingBlock.RingLengthOf(RingBlock.Least, isFirst: true) / 4) - FrameHeader.Length;

    private int RoomOfFrame_NeedsLock() => Math.Min(_frameStart + FrameHeader.Length + (MostPayload & ~15), _chunk!.Length) - _cursor;

    /// <summary>Room for that many bytes in the frame that is being filled, or in the next one.</summary>
    private Memory<byte> Reserve_NeedsLock(int size)
    {
        if (_frameStart >= 0 && RoomOfFrame_NeedsLock() < size)
            CloseFrame_NeedsLock(FrameFlags.None);
        if (_frameStart < 0)
            OpenFrame_NeedsLock(size);
        return _chunk!.Memory.Slice(_cursor, RoomOfFrame_NeedsLock());
    }

    private void OpenFrame_NeedsLock(int size)
    {
        // A small rest makes a small frame.
        if (_chunk is { } full && full.Length - full.Used < FrameHeader.Length + Math.Max(size, FewestPayload))
        {
            full.Used = 0;
            if (full.Uses > 0)
                _chunk = null;
        }
        _chunk ??= _spares.TryPop(out StagingChunk? spare) ? spare : new StagingChunk(_pool.Rent(_chunkLength));
        _frameStart = _chunk.Used;
        _cursor = _frameStart + FrameHeader.Length;
    }

    /// <summary>Queues the frame that is being filled, where there is one.</summary>
    private void CloseFrame_NeedsLock(FrameFlags flags)
    {
        if (_isDiscarding)
            Drop_NeedsLock();
        if (_frameStart < 0)
            return;
        int payload = _cursor - _frameStart - FrameHeader.Length;
        if (payload == 0 && flags == FrameFlags.None)
            return;
        _queue.Enqueue(new Frame(_chunk!, _frameStart, payload, flags));
        _chunk!.Uses++;
        _chunk.Used = Math.Min(_chunk.Length, _frameStart + FrameHeader.FrameLength(payload));
        // The padding is sent, too; what the pool's last renter has left there must not be.
        _chunk.Memory.Span[_cursor.._chunk.Used].Clear();
        _position += payload;
        _outstanding += payload;
        _frameStart = -1;
    }

    /// <summary>Drops the frame that is being filled. The application must not be filling it now.</summary>
    private void Drop_NeedsLock()
    {
        _frameStart = -1;
        TrimIdle_NeedsLock();
    }

    /// <summary>Posts what can be posted.</summary>
    private void Pump()
    {
        lock (_gate)
        {
            _mustPumpAgain = true;
            if (_isPumping)
                return;
            _isPumping = true;
        }
        while (true)
        {
            Post post;
            lock (_gate)
            {
                if (!TryTake_NeedsLock(out post))
                {
                    if (_mustPumpAgain)
                    {
                        _mustPumpAgain = false;
                        continue;
                    }
                    _isPumping = false;
                    return;
                }
            }
            RmaOperation write = RmaOperation.WriteAndNotify(
                post.Source, post.Target.Region.Slice(post.Target.Offset + post.Destination, post.Source.Length), post.Notification, (ulong)post.Index);
            if (_owner.TryStart(write, this))
                continue;
            lock (_gate)
            {
                if (_isDiscarding)
                    EndWrite_NeedsLock(post.Index);
                else
                    _postponed = post;
                _isPumping = false;
            }
            _owner.RetryLater();
            return;
        }
    }

    /// <summary>Takes the next write: a run of frames that lie together, and find room together.</summary>
    private bool TryTake_NeedsLock(out Post post)
    {
        post = default;
        if (_postponed is { } postponed)
        {
            post = postponed;
            _postponed = null;
            return true;
        }
        if (_target is not { } target || _isDiscarding || _freeWrites == 0)
            return false;
        if (_offered is not null && TryTakeSwitch_NeedsLock(target, _offered, out post))
            return true;
        if (!_queue.TryPeek(out Frame first))
            return false;
        int length = FrameHeader.FrameLength(first.Payload);
        int before = target.Length - _offset;
        int skipped = length > before ? before : 0;
        int offset = skipped > 0 || before == 0 ? 0 : _offset;
        long room = Room_NeedsLock(target) - skipped;
        if (length > room)
        {
            if (_stalledSince == 0)
                _stalledSince = Stopwatch.GetTimestamp();
            return false;
        }
        room = Math.Min(room, target.Length - offset);
        FrameFlags stalled = FrameFlags.None;
        if (_stalledSince != 0)
        {
            stalled = FrameFlags.Stalled;
            _stalls++;
            _stalledTime += Stopwatch.GetTimestamp() - _stalledSince;
            _stalledSince = 0;
        }
        int frames = 0, run = 0;
        long payload = 0;
        while (_queue.TryPeek(out Frame frame) && frame.Chunk == first.Chunk && frame.Start == first.Start + run && FrameHeader.FrameLength(frame.Payload) <= room - run)
        {
            _queue.Dequeue();
            if (frames > 0)
                new FrameHeader(frame.Payload, frame.Flags, 0, 0).WriteTo(frame.Chunk.Memory.Span[frame.Start..]);
            _isEndWritten |= (frame.Flags & FrameFlags.EndOfStream) != 0;
            frames++;
            payload += frame.Payload;
            run += FrameHeader.FrameLength(frame.Payload);
        }
        new FrameHeader(first.Payload, first.Flags | stalled, run, _reader.TakeCredit()).WriteTo(first.Chunk.Memory.Span[first.Start..]);
        post = Begin_NeedsLock(new Write(first.Chunk, frames, payload), first.Chunk.Slice(first.Start, run), target, offset, skipped);
        return true;
    }

    private long Room_NeedsLock(RingTarget target) => target.Length - (_sent - Math.Max(_credit, _ringStart));

    /// <summary>Takes the header by which the peer learns that this side goes on in the ring that was offered.</summary>
    private bool TryTakeSwitch_NeedsLock(RingTarget target, RingTarget next, out Post post)
    {
        post = default;
        bool isIdle = _queue.Count == 0 && _frameStart < 0;
        // One header by itself is on its way at a time: there is one place for it.
        if (_left is not null || _isEndWritten || (next.Length < target.Length && !isIdle) || Room_NeedsLock(target) < FrameHeader.Length)
            return false;
        int offset = _offset == target.Length ? 0 : _offset;
        RmaSlice source = _words.PrepareHeader(new FrameHeader(0, FrameFlags.Switch, FrameHeader.Length, _reader.TakeCredit()));
        post = Begin_NeedsLock(default, source, target, offset, 0);
        _left = target;
        _target = next;
        _offered = null;
        _ringStart = _sent;
        _offset = 0;
        return true;
    }

    private Post Begin_NeedsLock(Write write, RmaSlice source, RingTarget target, int offset, int skipped)
    {
        int index = System.Numerics.BitOperations.TrailingZeroCount(_freeWrites);
        _freeWrites &= (ushort)~(1 << index);
        _writes[index] = write;
        var post = new Post(index, source, target, offset, target.Notification(offset != _offset ? NoticeKind.DataAtStart : NoticeKind.Data, _sequence));
        _sequence = (_sequence + 1) & Notice.SequenceMask;
        _sent += skipped + (int)source.Length;
        _offset = offset + (int)source.Length;
        return post;
    }

    private void EndWrite_NeedsLock(int index)
    {
        Write write = _writes[index];
        _writes[index] = default;
        _freeWrites |= (ushort)(1 << index);
        _outstanding = Math.Max(0, _outstanding - write.Payload);
        if (write.Chunk is null)
            LetGo_NeedsLock(ref _left);
        else
            Release_NeedsLock(write.Chunk, write.Frames);
    }

    /// <summary>Lets go of the rings that were offered. Nothing is posted any more.</summary>
    public void ReleaseTargets()
    {
        lock (_gate)
        {
            LetGo_NeedsLock(ref _target);
            LetGo_NeedsLock(ref _offered);
            LetGo_NeedsLock(ref _left);
        }
    }

    private void LetGo_NeedsLock(ref RingTarget? target)
    {
        if (target is not null && target != _first)
            target.Region.Dispose();
        target = null;
    }

    private void Release_NeedsLock(StagingChunk chunk, int frames)
    {
        chunk.Uses -= frames;
        if (chunk.Uses > 0)
            return;
        if (chunk == _chunk)
        {
            // What is being filled stays where it is.
            if (_frameStart < 0)
                chunk.Used = 0;
            return;
        }
        chunk.Used = 0;
        if (_spares.Count < MostSpares && !_isDiscarding)
            _spares.Push(chunk);
        else
            chunk.Dispose();
    }

    private void TrimIdle_NeedsLock()
    {
        while (_spares.TryPop(out StagingChunk? spare))
            spare.Dispose();
        if (_chunk is not { Uses: 0 } chunk || _frameStart >= 0)
            return;
        _chunk = null;
        chunk.Dispose();
    }

    private bool MustWait_NeedsLock() => _outstanding >= _pauseAt && !_isDiscarding && !_isCancelPending && !_isCompleted;

    private FlushResult Result_NeedsLock()
    {
        var result = new FlushResult(_isCancelPending, _isDiscarding);
        _isCancelPending = false;
        return result;
    }

    private bool TryWake_NeedsLock()
    {
        if (!_isWaiting || (_outstanding > _pauseAt / 2 && !_isDiscarding && !_isCancelPending && !_cancelledBy.CanBeCanceled))
            return false;
        _isWaiting = false;
        return true;
    }

    private void CancelFlush(CancellationToken token)
    {
        bool wakes;
        lock (_gate)
        {
            if (!_isWaiting || token != _waitToken)
                return;
            _cancelledBy = token;
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            _owner.Schedule(this);
    }

    private void ThrowIfCompleted_NeedsLock()
    {
        if (_isCompleted)
            throw new InvalidOperationException("Writing is not allowed after the writer was completed.");
    }

    /// <summary>A frame that waits.</summary>
    private readonly record struct Frame(StagingChunk Chunk, int Start, int Payload, FrameFlags Flags);

    /// <summary>A write that is on its way; without a chunk where it is a header by itself.</summary>
    private readonly record struct Write(StagingChunk? Chunk, int Frames, long Payload);

    /// <summary>A write that is about to be posted.</summary>
    [StructLayout(LayoutKind.Auto)]
    private readonly record struct Post(int Index, RmaSlice Source, RingTarget Target, int Destination, ulong Notification);
}

/// <summary>The peer's ring.</summary>
/// <param name="Region">The block that it is in.</param>
/// <param name="Offset">Where it begins there.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Number">The peer's number of the connection.</param>
internal sealed record RingTarget(RemoteRegion Region, int Offset, int Length, int Number)
{
    public ulong Notification(NoticeKind kind, int sequence) => new Notice(Number, kind, sequence).Encode();
}
