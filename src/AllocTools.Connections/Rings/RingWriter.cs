using System.IO.Pipelines;

namespace AllocTools.Connections.Rings;

/// <summary>The writing end of a connection: frames are built in staging memory of the pool, and written from there to the peer's ring.</summary>
/// <remarks>
/// <para>
/// A frame contains the bytes written between two flushes, up to its maximum length. <see cref="WriteAsync"/> copies in
/// pieces, each of which is in flight while the next one is copied, and waits in between while many bytes are
/// outstanding. If it is cancelled, the rest is copied without waiting: all bytes are written, as by any pipe.
/// </para>
/// <para>
/// Memory is rented and bytes are copied outside the lock, because the thread that makes progress takes it, too.
/// Meanwhile the writer is busy: an end during that time takes effect when that call is done.
/// </para>
/// </remarks>
internal sealed partial class RingWriter : PipeWriter
{
    private readonly IRingOwner _owner;
    private readonly FrameForm _form;
    private readonly Lock _gate = new();
    private readonly Leftovers _leftovers;
    private readonly Staging _staging;
    private readonly RingSender _sender;
    private readonly PipeWait<FlushResult> _flush;
    private Memory<byte> _room;
    private bool _isLoose;
    private StagingChunk? _held;
    private long _position;
    private long _unflushed;
    private bool _isWriting;
    private bool _isCompleted;

    /// <param name="owner">The connection.</param>
    /// <param name="form">The form of frames.</param>
    /// <param name="credit">Gives the credit of the other direction, which goes with the frames.</param>
    /// <param name="words">This side's first block: the source of headers without a payload.</param>
    /// <param name="pool">The pool from which staging memory is rented.</param>
    /// <param name="share">Limits the idle staging memory that the connections may keep.</param>
    /// <param name="pauseAt">How many bytes may be waiting or in flight before a flush waits.</param>
    public RingWriter(IRingOwner owner, FrameForm form, CreditWriter credit, RingBlock words, IRmaMemoryPool pool, StagingShare share, long pauseAt)
    {
        _owner = owner;
        _form = form;
        _leftovers = new Leftovers(_gate);
        _staging = new Staging(pool, form, share, _leftovers);
        _flush = new PipeWait<FlushResult>(owner, _gate, TakeResult, "flush");
        _sender = new RingSender(owner, form, _gate, credit, words, _staging, _leftovers, _flush, pauseAt);
    }

    /// <summary>Whether nothing is in flight, and nothing will be.</summary>
    public bool IsQuiet
    {
        get
        {
            lock (_gate)
                return _sender.IsQuiet;
        }
    }

    /// <summary>Whether the application writes no more, and no longer uses memory of this end.</summary>
    public bool IsCompleted
    {
        get
        {
            lock (_gate)
                return _isCompleted && !_staging.IsBusy && !_isWriting;
        }
    }

    /// <summary>Whether a flush waits, or a write is incomplete.</summary>
    public bool IsFlushPending
    {
        get
        {
            lock (_gate)
                return _flush.IsActive || _isWriting;
        }
    }

    /// <summary>The bytes of the stream that were passed to the writer.</summary>
    public long Position => Volatile.Read(ref _position);

    /// <inheritdoc cref="RingSender.Stalls"/>
    public long Stalls => _sender.Stalls;

    /// <inheritdoc cref="RingSender.StalledTime"/>
    public TimeSpan StalledTime => _sender.StalledTime;

    /// <inheritdoc/>
    public override bool CanGetUnflushedBytes => true;

    /// <inheritdoc/>
    public override long UnflushedBytes => Volatile.Read(ref _unflushed);

    /// <summary>Called when the peer's ring is known: waiting bytes are written.</summary>
    public void Start(RingTarget target)
    {
        lock (_gate)
            _sender.Ring.Start(target);
        _sender.Pump();
    }

    /// <summary>Called when the reader offers another ring.</summary>
    /// <param name="target">The ring; null for the first one.</param>
    /// <returns>False: the reader has already offered one, or has offered the ring that is in use.</returns>
    public bool OnOffer(RingTarget? target)
    {
        lock (_gate)
        {
            if (!_sender.Ring.TryOffer(target))
                return false;
        }
        _sender.Pump();
        return true;
    }

    /// <summary>Called when the peer has given credit.</summary>
    /// <param name="credit">The credit in bytes since the start.</param>
    /// <returns>False: the credit exceeds the bytes sent.</returns>
    public bool OnCredit(long credit)
    {
        bool isMore;
        lock (_gate)
        {
            if (!_sender.Ring.TryCredit(credit, out isMore))
                return false;
        }
        if (isMore)
            _sender.Pump();
        return true;
    }

    /// <inheritdoc/>
    public override Memory<byte> GetMemory(int sizeHint = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sizeHint);
        int size = Math.Max(sizeHint, 1);
        lock (_gate)
        {
            ThrowIfUnusable_NeedsLock();
            TakeBackRoom_NeedsLock();
            if (_sender.IsDiscarding || size > MostFrame_NeedsLock - _form.HeaderLength)
            {
                // If the request is longer than a frame, or nothing is read any more, it gets heap memory, which is copied or dropped.
                _isLoose = true;
                return _room = GC.AllocateUninitializedArray<byte>(Math.Max(size, 4096));
            }
            _staging.IsBusy = true;
        }
        try
        {
            return _room = Reserve(size);
        }
        finally
        {
            EndBusy();
        }
    }

    /// <inheritdoc/>
    public override Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <inheritdoc/>
    /// <remarks>As with other pipes, the rest of the memory may be written and advanced over until the next call of another member.</remarks>
    public override void Advance(int bytes)
    {
        ReadOnlyMemory<byte> written;
        lock (_gate)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)bytes, (uint)_room.Length, nameof(bytes));
            ThrowIfUnusable_NeedsLock();
            written = _room[..bytes];
            _room = _room[bytes..];
            if (bytes == 0 || _sender.IsDiscarding)
                return;
            // The peer's ring may have become smaller before anything was written. Then a frame may be shorter than
            // the returned memory.
            if (!_isLoose && !_staging.TryGetRoom(bytes + _room.Length, MostFrame_NeedsLock, out _))
                Loosen_NeedsLock();
            if (!_isLoose)
            {
                _staging.Advance(bytes);
                _unflushed += bytes;
                return;
            }
            _staging.IsBusy = true;
        }
        try
        {
            for (ReadOnlySpan<byte> rest = written.Span; !rest.IsEmpty;)
                rest = rest[Copy(rest)..];
        }
        catch (Exception e)
        {
            // A part of the bytes may be in flight.
            _owner.OnWriteFailed(e);
            throw;
        }
        finally
        {
            EndBusy();
        }
    }

    /// <inheritdoc/>
    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        short version;
        lock (_gate)
        {
            _flush.ThrowIfActive_NeedsLock();
            Close_NeedsLock();
        }
        _sender.Pump();
        lock (_gate)
        {
            if (!_sender.MustWait || _flush.IsCancelPending || _isCompleted)
                return new ValueTask<FlushResult>(TakeResult_NeedsLock());
            if (cancellationToken.IsCancellationRequested)
                return ValueTask.FromCanceled<FlushResult>(cancellationToken);
            version = _flush.Begin_NeedsLock(cancellationToken);
        }
        return _flush.Await(version, cancellationToken);
    }

    /// <inheritdoc/>
    public override void CancelPendingFlush() => _flush.CancelPending();

    /// <inheritdoc/>
    public override void Complete(Exception? exception = null)
    {
        lock (_gate)
        {
            if (_isCompleted)
                return;
            _isCompleted = true;
            if (_staging.IsBusy || _isWriting)
                return;
            EndStream_NeedsLock();
        }
        _sender.Pump();
        _owner.CheckEnd();
    }

    /// <summary>Called when nothing more is written, because the peer reads no more or the connection has ended.</summary>
    public void Discard()
    {
        bool wakes;
        CreditTaken taken;
        lock (_gate)
        {
            taken = _sender.Discard_NeedsLock();
            if (!_staging.IsBusy && _room.IsEmpty)
                _staging.Drop();
            wakes = _sender.TryWake_NeedsLock();
        }
        if (wakes)
            _flush.Schedule();
        _leftovers.Dispose();
        if (taken.IsTaken)
            _sender.OnDropped(taken);
    }

    /// <summary>Tries again to start an operation that found no place at the endpoint.</summary>
    public void Retry() => _sender.Pump();

    /// <summary>Releases idle staging memory.</summary>
    public void Trim()
    {
        lock (_gate)
        {
            if (!_staging.IsBusy)
                _staging.Trim();
        }
        _leftovers.Dispose();
    }

    /// <summary>Releases the offered rings. No more operations are posted.</summary>
    public void ReleaseTargets()
    {
        lock (_gate)
            _sender.Ring.LetGo();
        _leftovers.Dispose();
    }
}
