using System.IO.Pipelines;

namespace AllocTools.Connections.Rings;

/// <summary>The writing end of a connection: frames are built in staging memory of the pool, and written from there to the peer's ring.</summary>
/// <remarks>
/// <para>
/// A frame is what was written between two flushes, or as much as a frame may have. <see cref="WriteAsync"/> copies in pieces, each of which is on its way while the
/// next one is copied, and waits between them while much is outstanding. Where it is cancelled the rest is copied without a wait: all of it is written, as by any pipe.
/// </para>
/// <para>
/// Memory is rented and bytes are copied outside of the lock, which the thread that makes progress takes, too. Meanwhile the writer is busy: what ends it then is
/// done when that call is.
/// </para>
/// </remarks>
internal sealed partial class RingWriter : PipeWriter
{
    private readonly IRingOwner _owner;
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
    /// <param name="credit">Gives the credit of the other direction, which goes with the frames.</param>
    /// <param name="words">This side's first block: the source of headers by themselves.</param>
    /// <param name="pool">Where staging memory comes from.</param>
    /// <param name="share">What of it the connections may keep.</param>
    /// <param name="pauseAt">How many bytes may wait or be on their way until a flush waits, too.</param>
    public RingWriter(IRingOwner owner, CreditWriter credit, RingBlock words, IRmaMemoryPool pool, StagingShare share, long pauseAt)
    {
        _owner = owner;
        _leftovers = new Leftovers(_gate);
        _staging = new Staging(pool, share, _leftovers);
        _flush = new PipeWait<FlushResult>(owner, _gate, TakeResult, "flush");
        _sender = new RingSender(owner, _gate, credit, words, _staging, _leftovers, _flush, pauseAt);
    }

    /// <summary>Nothing is on its way, and nothing will be.</summary>
    public bool IsQuiet
    {
        get
        {
            lock (_gate)
                return _sender.IsQuiet;
        }
    }

    /// <summary>The application writes no more, and touches no memory of this end.</summary>
    public bool IsCompleted
    {
        get
        {
            lock (_gate)
                return _isCompleted && !_staging.IsBusy && !_isWriting;
        }
    }

    /// <summary>A flush waits, or a write is half done.</summary>
    public bool IsFlushPending
    {
        get
        {
            lock (_gate)
                return _flush.IsActive || _isWriting;
        }
    }

    /// <summary>Bytes of the stream that were handed over to be written.</summary>
    public long Position => Volatile.Read(ref _position);

    /// <inheritdoc cref="RingSender.Stalls"/>
    public long Stalls => _sender.Stalls;

    /// <inheritdoc cref="RingSender.StalledTime"/>
    public TimeSpan StalledTime => _sender.StalledTime;

    /// <inheritdoc/>
    public override bool CanGetUnflushedBytes => true;

    /// <inheritdoc/>
    public override long UnflushedBytes => Volatile.Read(ref _unflushed);

    /// <summary>The peer's ring is known: what waits is written.</summary>
    public void Start(RingTarget target)
    {
        lock (_gate)
            _sender.Ring.Start(target);
        _sender.Pump();
    }

    /// <summary>The reader has another ring.</summary>
    /// <param name="target">The ring; null for the first one.</param>
    /// <returns>False: it has offered one already, or the one that is in use.</returns>
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

    /// <summary>The peer has given bytes of its ring back.</summary>
    /// <param name="credit">How many since the start.</param>
    /// <returns>False: it was never sent so much.</returns>
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
            if (_sender.IsDiscarding || size > MostFrame_NeedsLock - FrameHeader.Length)
            {
                // More than a frame has, or nobody reads it: memory of the heap, which is copied or dropped.
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
    /// <remarks>As with other pipes, what is left of the memory may be written and advanced over, until the next call of another member.</remarks>
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
            // The peer's ring may have become smaller before anything was written: then a frame may have less than was handed out.
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
            // A part of it may be on its way.
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

    /// <summary>Nothing more is written: the peer reads no more, or the connection is over.</summary>
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

    /// <summary>Tries once more what found no place among the endpoint's operations.</summary>
    public void Retry() => _sender.Pump();

    /// <summary>Gives staging memory back that has had nothing to do.</summary>
    public void Trim()
    {
        lock (_gate)
        {
            if (!_staging.IsBusy)
                _staging.Trim();
        }
        _leftovers.Dispose();
    }

    /// <summary>Lets go of the rings that were offered. Nothing is posted any more.</summary>
    public void ReleaseTargets()
    {
        lock (_gate)
            _sender.Ring.LetGo();
        _leftovers.Dispose();
    }
}
