using System.Buffers;
using System.IO.Pipelines;
using System.Threading.Tasks.Sources;
using AllocTools.Endpoints.Engine;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Rings;

/// <summary>The reading end of a ring. It hands out the ring's own memory, and gives it back as its consumer advances.</summary>
/// <remarks>
/// <para>
/// The thread that finds a notification parses the run, appends a segment for each frame, and wakes the consumer on the thread pool. Credit
/// goes back by the next frame of the other direction, or by a write of its own once a quarter of the ring was given back.
/// </para>
/// <para>
/// A consumer may wait for more than the ring holds without having consumed anything (a message that is longer). Before it does, what it
/// leaves is copied out of the ring where that is over a quarter, so that the writer can always go on: a frame has up to a quarter of the ring, and
/// as much may be skipped at its end.
/// </para>
/// <para>
/// A ring that is too small is replaced: another one is offered to the writer, whose last frame in the old one says that it changes. The old one is
/// given back once its consumer has consumed what is in it.
/// </para>
/// Invariants: _told ≤ _freed ≤ _received; what is used of the ring, _received - max(_freed, _ringStart), is at most its length; _consumed ≤ _examined ≤ _position.
/// </remarks>
internal sealed class RingReader : PipeReader, IValueTaskSource<ReadResult>, IThreadPoolWorkItem, IOperationOwner
{
    /// <summary>How many runs may be announced before the one that is waited for.</summary>
    private const int Window = 64;

    private const int MostSpares = 64;

    private static readonly Action<object?, CancellationToken> OnCancelled = static (reader, token) => ((RingReader)reader!).CancelRead(token);

    private readonly IRingOwner _owner;
    private readonly bool _copies;
    private readonly RingBlock _first;
    private readonly Lock _gate = new();
    private readonly Stack<RingSegment> _spares = new();
    private ManualResetValueTaskSourceCore<bool> _wake;
    private readonly Queue<(RingBlock Ring, long Until)> _retiring = new();
    private RingBlock _ring;
    private RingBlock? _offered;
    private bool _isOffering;

    // In bytes of all rings, since the start.
    private long _received;
    private long _freed;
    private long _told;
    private long _ringStart;
    private int _offset;
    private int _nextSequence;
    private ulong _arrived;
    private ulong _atStart;

    // In bytes of the stream.
    private RingSegment? _firstSegment;
    private RingSegment? _lastSegment;
    private long _position;
    private long _consumed;
    private long _examined;

    private CreditTarget? _target;
    private bool _isWritingCredit;
    private bool _isEnded;
    private bool _isClosed;
    private bool _isCompleted;
    private Exception? _error;
    private bool _isWaiting;
    private bool _isCancelPending;
    private CancellationToken _waitToken;
    private CancellationToken _cancelledBy;
    private CancellationTokenRegistration _cancellation;

    /// <param name="owner">The connection.</param>
    /// <param name="first">The block that it begins with.</param>
    /// <param name="copies">Reads hand out copies.</param>
    public RingReader(IRingOwner owner, RingBlock first, bool copies)
    {
        _copies = copies;
        _owner = owner;
        _first = _ring = first;
    }

    /// <summary>The peer's stream has ended, or nothing of it is read any more; and no credit is being written.</summary>
    public bool IsQuiet
    {
        get
        {
            lock (_gate)
                return (_isEnded || _isCompleted || _error is not null) && !_isWritingCredit;
        }
    }

    /// <summary>The consumer holds no memory of the ring any more.</summary>
    public bool IsCompleted
    {
        get
        {
            lock (_gate)
                return _isCompleted;
        }
    }

    /// <summary>The peer's stream has ended.</summary>
    public bool IsEnded
    {
        get
        {
            lock (_gate)
                return _isEnded;
        }
    }

    /// <summary>Bytes of the stream that have come.</summary>
    public long Position => Volatile.Read(ref _position);

    /// <summary>The bytes of the ring.</summary>
    public int RingLength
    {
        get
        {
            lock (_gate)
                return _ring.Length;
        }
    }

    /// <summary>Begins to replace the ring, where nobody does already, and it is of use.</summary>
    /// <param name="isFirst">By the first one, which may have something in it that was not consumed.</param>
    /// <returns>True: the caller calls <see cref="Offer"/>.</returns>
    public bool TryBeginOffer(bool isFirst)
    {
        lock (_gate)
        {
            if ((isFirst && (_ring == _first || _retiring.Count > 0)) || _isOffering || _offered is not null || _target is null || _isEnded || _isCompleted || _error is not null)
                return false;
            return _isOffering = true;
        }
    }

    /// <summary>The ring that the writer is offered; null where there is none after all.</summary>
    public void Offer(RingBlock? ring)
    {
        lock (_gate)
        {
            _isOffering = false;
            _offered = ring;
        }
    }

    /// <summary>Credit can be given from here on.</summary>
    public void Start(CreditTarget target)
    {
        lock (_gate)
            _target = target;
        GiveCredit();
    }

    /// <summary>The memory goes back: what is announced from here on is not looked at.</summary>
    public void Close()
    {
        lock (_gate)
            _isClosed = true;
    }

    /// <summary>What the peer has given back of its own ring.</summary>
    public long Credit
    {
        get
        {
            lock (_gate)
                return _isClosed ? 0 : _first.Credit;
        }
    }

    /// <summary>Takes the credit that goes with a frame of the other direction.</summary>
    public long TakeCredit()
    {
        lock (_gate)
            return _told = _freed;
    }

    /// <summary>A run has come. The thread that makes progress calls this.</summary>
    /// <param name="sequence">Its number.</param>
    /// <param name="atStart">It is at the start of the ring.</param>
    /// <param name="credit">The credit that it brings.</param>
    /// <param name="wantsMore">The writer had to wait, though the consumer keeps up: the ring is too small.</param>
    /// <returns>What is wrong with it; null where nothing is.</returns>
    public string? OnRun(int sequence, bool atStart, out long credit, out bool wantsMore)
    {
        credit = 0;
        wantsMore = false;
        bool wakes;
        string? mistake = null;
        bool ended;
        lock (_gate)
        {
            if (_isClosed)
                return null;
            int ahead = (sequence - _nextSequence) & Notice.SequenceMask;
            if (ahead >= Window || ((_arrived >> ahead) & 1) != 0)
                return "a run was announced twice, or far too early";
            _arrived |= 1UL << ahead;
            _atStart |= atStart ? 1UL << ahead : 0;
            while ((_arrived & 1) != 0 && mistake is null)
            {
                mistake = TakeRun_NeedsLock((_atStart & 1) != 0, ref credit, ref wantsMore);
                _arrived >>= 1;
                _atStart >>= 1;
                _nextSequence = (_nextSequence + 1) & Notice.SequenceMask;
            }
            wakes = TryWake_NeedsLock();
            ended = _isEnded;
        }
        if (wakes)
            Schedule();
        if (ended)
            _owner.OnStreamEnded();
        return mistake;
    }

    /// <summary>Nothing more will come: the consumer gets the error.</summary>
    public void Fail(Exception error)
    {
        bool wakes;
        lock (_gate)
        {
            _error ??= error;
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            Schedule();
    }

    /// <inheritdoc/>
    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        bool frees;
        short version;
        lock (_gate)
        {
            ThrowIfCompleted_NeedsLock();
            if (_isWaiting)
                throw new InvalidOperationException("A read of this connection is pending already.");
            if (cancellationToken.IsCancellationRequested)
                return ValueTask.FromCanceled<ReadResult>(cancellationToken);
            if (TryRead_NeedsLock(out ReadResult result))
                return new ValueTask<ReadResult>(result);
            frees = Used_NeedsLock > _ring.Length / 4;
            if (frees)
                Spill_NeedsLock();
            _isWaiting = true;
            _waitToken = cancellationToken;
            _wake.Reset();
            version = _wake.Version;
        }
        if (frees)
            GiveCredit();
        // A callback that comes at once finds the wait.
        if (cancellationToken.CanBeCanceled)
            _cancellation = cancellationToken.UnsafeRegister(OnCancelled, this);
        return new ValueTask<ReadResult>(this, version);
    }

    /// <inheritdoc/>
    public override bool TryRead(out ReadResult result)
    {
        lock (_gate)
        {
            ThrowIfCompleted_NeedsLock();
            return TryRead_NeedsLock(out result);
        }
    }

    /// <inheritdoc/>
    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    /// <inheritdoc/>
    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        lock (_gate)
        {
            if (_isCompleted)
                return;
            long consumedTo = PositionOf(consumed, _consumed);
            long examinedTo = PositionOf(examined, consumedTo);
            if (consumedTo < _consumed || consumedTo > _position || examinedTo < consumedTo || examinedTo > _position)
                throw new ArgumentOutOfRangeException(nameof(consumed), "The position is not one of what was read, or lies before what was consumed.");
            _examined = Math.Max(_examined, examinedTo);
            Free_NeedsLock(consumedTo);
        }
        GiveCredit();
    }

    /// <inheritdoc/>
    public override void CancelPendingRead()
    {
        bool wakes;
        lock (_gate)
        {
            _isCancelPending = true;
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            Schedule();
    }

    /// <inheritdoc/>
    public override void Complete(Exception? exception = null)
    {
        bool wakes;
        lock (_gate)
        {
            if (_isCompleted)
                return;
            _isCompleted = true;
            // As where a socket is closed under a read.
            if (_isWaiting)
                _error ??= new ConnectionAbortedException("The reader was completed, or the connection disposed, while a read was pending.");
            Free_NeedsLock(_position);
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            Schedule();
        _owner.OnReaderCompleted();
    }

    /// <summary>The credit was written, or not.</summary>
    public void OnEnded(ulong context, Exception? error)
    {
        lock (_gate)
            _isWritingCredit = false;
        if (error is not null)
            _owner.OnWriteFailed(error);
        else
            GiveCredit();
        _owner.OnOperationEnded();
    }

    /// <inheritdoc/>
    public void OnAbandoned(ulong context, Exception error)
    {
        _owner.OnWriteAbandoned();
        OnEnded(context, error);
    }

    ReadResult IValueTaskSource<ReadResult>.GetResult(short token)
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
            ThrowIfCompleted_NeedsLock();
            TryRead_NeedsLock(out ReadResult result);
            return result;
        }
    }

    ValueTaskSourceStatus IValueTaskSource<ReadResult>.GetStatus(short token) => _wake.GetStatus(token);

    void IValueTaskSource<ReadResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
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

    /// <summary>Tries once more what found no place among the endpoint's operations.</summary>
    public void Retry() => GiveCredit();

    private void Schedule() => _owner.Schedule(this);

    /// <summary>Writes the credit where it is due and none is on its way.</summary>
    private void GiveCredit()
    {
        RmaSlice source;
        CreditTarget target;
        long before;
        lock (_gate)
        {
            if (_target is not { } known || _isWritingCredit || _isEnded || _isCompleted || _error is not null || _freed - _told < _ring.Length / 4)
                return;
            target = known;
            _isWritingCredit = true;
            before = _told;
            _told = _freed;
            source = _first.PrepareCredit(_freed);
        }
        if (_owner.TryStart(RmaOperation.WriteAndNotify(source, target.Word, target.Notification), this))
            return;
        lock (_gate)
        {
            _isWritingCredit = false;
            // It has to be found due again.
            _told = before;
        }
        _owner.RetryLater();
    }

    /// <summary>Parses a run. What stands in the ring is the peer's, who may be hostile.</summary>
    private string? TakeRun_NeedsLock(bool atStart, ref long credit, ref bool wantsMore)
    {
        if (_isEnded)
            return "a frame came after the end of the stream";
        RingBlock ring = _ring;
        int offset = atStart ? 0 : _offset;
        int skipped = atStart ? ring.Length - _offset : 0;
        if (offset > ring.Length - FrameHeader.Length)
            return "a run is announced where the ring ends";
        FrameHeader header = ring.ReadHeader(offset);
        int run = header.RunLength;
        if (run < FrameHeader.Length || run % FrameHeader.Length != 0 || run > ring.Length - offset || skipped + (long)run > ring.Length - Used_NeedsLock)
            return $"a run of {run} bytes does not fit into the ring, or was sent without credit";
        credit = Math.Max(credit, header.Credit);
        for (int at = 0; at < run;)
        {
            if (at > 0)
                header = ring.ReadHeader(offset + at);
            int length = FrameHeader.FrameLength(header.PayloadLength);
            if (length > run - at || _isEnded || ring != _ring)
                return $"a frame of {header.PayloadLength} bytes does not fit into its run";
            Append_NeedsLock(offset + at + FrameHeader.Length, header.PayloadLength, length + (at == 0 ? skipped : 0));
            _isEnded |= (header.Flags & FrameFlags.EndOfStream) != 0;
            wantsMore |= (header.Flags & FrameFlags.Stalled) != 0 && Used_NeedsLock <= ring.Length / 2;
            if ((header.Flags & FrameFlags.Switch) != 0 && !TrySwitch_NeedsLock())
                return "it changes to a ring that was not offered";
            at += length;
        }
        if (ring == _ring)
            _offset = offset + run;
        return null;
    }

    private long Used_NeedsLock => _received - Math.Max(_freed, _ringStart);

    /// <summary>The writer goes on in the ring that was offered.</summary>
    private bool TrySwitch_NeedsLock()
    {
        if (_offered is not { } next)
            return false;
        _retiring.Enqueue((_ring, _received));
        _ring = next;
        _offered = null;
        _ringStart = _received;
        _offset = 0;
        Retire_NeedsLock();
        return true;
    }

    /// <summary>Lets go of rings that have nothing in them any more.</summary>
    private void Retire_NeedsLock()
    {
        while (_retiring.TryPeek(out (RingBlock Ring, long Until) oldest) && oldest.Until <= _freed)
        {
            _retiring.Dequeue();
            if (!oldest.Ring.IsFirst)
                _owner.Retire(oldest.Ring);
        }
    }

    private void Append_NeedsLock(int offset, int payload, int ringBytes)
    {
        _received += ringBytes;
        if (_isCompleted || (payload == 0 && _lastSegment is null))
        {
            _freed += ringBytes;
            _position += payload;
            return;
        }
        if (payload == 0)
        {
            _lastSegment!.RingBytes += ringBytes;
            return;
        }
        if (!_spares.TryPop(out RingSegment? segment))
            segment = new RingSegment();
        segment.Fill(_ring.Ring.Slice(offset, payload), _position, ringBytes);
        _position += payload;
        _lastSegment?.Append(segment);
        _lastSegment = segment;
        _firstSegment ??= segment;
    }

    /// <summary>Gives back what was consumed.</summary>
    private void Free_NeedsLock(long consumedTo)
    {
        _consumed = consumedTo;
        while (_firstSegment is { } segment && segment.End <= consumedTo)
        {
            _freed += segment.RingBytes;
            _firstSegment = segment.NextSegment;
            if (_firstSegment is null)
                _lastSegment = null;
            segment.Clear();
            if (_spares.Count < MostSpares)
                _spares.Push(segment);
        }
        Retire_NeedsLock();
    }

    private void Spill_NeedsLock()
    {
        for (RingSegment? segment = _firstSegment; segment is not null; segment = segment.NextSegment)
            _freed += segment.Spill();
        Retire_NeedsLock();
    }

    private bool TryRead_NeedsLock(out ReadResult result)
    {
        result = default;
        if (_error is not null && !_isEnded)
            throw _error;
        if (!_isCancelPending && !_isEnded && _position <= _examined)
            return false;
        // From here on the peer can't change it.
        if (_copies)
            Spill_NeedsLock();
        ReadOnlySequence<byte> bytes = _firstSegment is null ? default : new ReadOnlySequence<byte>(_firstSegment, (int)(_consumed - _firstSegment.RunningIndex), _lastSegment!, _lastSegment!.Memory.Length);
        result = new ReadResult(bytes, _isCancelPending, _isEnded);
        _isCancelPending = false;
        return true;
    }

    private static long PositionOf(SequencePosition position, long otherwise) =>
        position.GetObject() is RingSegment segment ? segment.RunningIndex + position.GetInteger() : otherwise;

    /// <summary>Somebody waits, and has something now.</summary>
    private bool TryWake_NeedsLock()
    {
        if (!_isWaiting || (_error is null && !_isCancelPending && !_isEnded && _position <= _examined && !_cancelledBy.CanBeCanceled))
            return false;
        _isWaiting = false;
        return true;
    }

    private void CancelRead(CancellationToken token)
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
            Schedule();
    }

    private void ThrowIfCompleted_NeedsLock()
    {
        if (_isCompleted)
            throw _error ?? new InvalidOperationException("Reading is not allowed after the reader was completed.");
    }
}

/// <summary>Where credit is written to.</summary>
/// <param name="Word">The peer's credit word.</param>
/// <param name="Notification">What announces it there.</param>
internal sealed record CreditTarget(RemoteSlice Word, ulong Notification);
