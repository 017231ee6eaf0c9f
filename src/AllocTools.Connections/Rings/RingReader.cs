using System.Buffers;
using System.IO.Pipelines;
using AllocTools.Endpoints;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Rings;

/// <summary>
/// The reading end of a connection. It returns the ring's own memory to the consumer, and frees it as the consumer
/// advances.
/// </summary>
/// <remarks>
/// <para>
/// The thread that finds a notification parses the run, appends a segment for each frame, and wakes the consumer.
/// </para>
/// <para>
/// A consumer may wait for more bytes than the ring holds without having consumed anything (a longer message). Before
/// it waits, unconsumed bytes are copied out of the ring if they exceed a quarter of it, so that the writer can always
/// continue: a frame may take up to a quarter of the ring, and as much may be skipped at its end. If reads must return
/// copies, everything is copied this way. Copying is done outside the lock; an end that occurs meanwhile waits for it.
/// </para>
/// </remarks>
internal sealed class RingReader : PipeReader
{
    private readonly IRingOwner _owner;
    private readonly bool _copies;
    private readonly RingBlock _first;
    private readonly Lock _gate = new();
    private readonly ReceivedBytes _bytes = new();
    private readonly ArrivingRing _ring;
    private readonly PipeWait<ReadResult> _read;
    private bool _isCopying;
    private bool _isClosed;
    private bool _isCompleted;
    private Exception? _error;

    /// <param name="owner">The connection.</param>
    /// <param name="form">The form of frames.</param>
    /// <param name="number">This side's number of the connection.</param>
    /// <param name="first">The first block.</param>
    /// <param name="copies">Whether reads return copies, which the peer can't change.</param>
    public RingReader(IRingOwner owner, FrameForm form, int number, RingBlock first, bool copies = false)
    {
        _copies = copies;
        _owner = owner;
        CreditWriter = new CreditWriter(owner, form, _gate, first);
        _ring = new ArrivingRing(owner, form, number, first, CreditWriter, _bytes);
        _first = first;
        _read = new PipeWait<ReadResult>(owner, _gate, TakeResult, "read");
    }

    /// <summary>Gives the peer credit.</summary>
    public CreditWriter CreditWriter { get; }

    /// <summary>The word by which the peer has given credit for its own ring; null once the memory is released.</summary>
    public long? Credit
    {
        get
        {
            lock (_gate)
                return _isClosed ? null : _first.Credit;
        }
    }

    /// <summary>Whether the peer's stream has ended, or is no longer read; and no credit is being written.</summary>
    public bool IsQuiet
    {
        get
        {
            lock (_gate)
                return (_ring.IsEnded || _isCompleted || _error is not null) && !CreditWriter.IsWriting;
        }
    }

    /// <summary>Whether the consumer holds no more memory of the ring.</summary>
    public bool IsCompleted
    {
        get
        {
            lock (_gate)
                return _isCompleted && !_isCopying;
        }
    }

    /// <summary>Whether the peer's stream has ended.</summary>
    public bool IsEnded
    {
        get
        {
            lock (_gate)
                return _ring.IsEnded;
        }
    }

    /// <summary>The bytes of the stream that have arrived.</summary>
    public long Position => _bytes.Position;

    /// <inheritdoc cref="ArrivingRing.Damage"/>
    public RmaIntegrityException? Damage
    {
        get
        {
            lock (_gate)
                return _ring.Damage;
        }
    }

    /// <summary>The length of the ring in bytes.</summary>
    public int RingLength
    {
        get
        {
            lock (_gate)
                return _ring.Length;
        }
    }

    /// <summary>The length of the block that contains the ring, in bytes.</summary>
    public long BlockLength
    {
        get
        {
            lock (_gate)
                return _ring.BlockLength;
        }
    }

    /// <summary>Begins to replace the ring, if that is useful and not already in progress.</summary>
    /// <param name="isFirst">Whether the first ring replaces it.</param>
    /// <returns>True: the caller must call <see cref="Offer"/>.</returns>
    public bool TryBeginOffer(bool isFirst)
    {
        lock (_gate)
            return CreditWriter.IsStarted && !_isCompleted && _error is null && _ring.TryBeginOffer(isFirst);
    }

    /// <summary>The ring to offer to the writer; null if there is none after all.</summary>
    public void Offer(RingBlock? ring)
    {
        lock (_gate)
            _ring.Offer(ring);
    }

    /// <summary>Called by the thread that makes progress when a run has arrived.</summary>
    /// <inheritdoc cref="ArrivingRing.OnRun"/>
    public string? OnRun(int sequence, bool atStart, out long credit, out bool wantsMore)
    {
        credit = 0;
        wantsMore = false;
        bool wakes, ended;
        string? mistake;
        lock (_gate)
        {
            if (_isClosed)
                return null;
            mistake = _ring.OnRun(sequence, atStart, ref credit, ref wantsMore);
            wakes = TryWake_NeedsLock();
            ended = _ring.IsEnded;
            CreditWriter.IsOver |= ended;
        }
        if (wakes)
            _read.Schedule();
        if (ended)
            _owner.OnStreamEnded();
        return mistake;
    }

    /// <summary>Called when nothing more will arrive: the consumer gets the error.</summary>
    public void Fail(Exception error)
    {
        bool wakes;
        lock (_gate)
        {
            _error ??= error;
            CreditWriter.IsOver = true;
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            _read.Schedule();
    }

    /// <summary>Called when the memory is released: later announcements are ignored.</summary>
    public void Close()
    {
        lock (_gate)
            _isClosed = true;
    }

    /// <summary>Tries again to start an operation that found no place at the endpoint.</summary>
    public void Retry() => CreditWriter.Give();

    /// <inheritdoc/>
    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            bool waits;
            short version = 0;
            lock (_gate)
            {
                ThrowIfCompleted_NeedsLock();
                _read.ThrowIfActive_NeedsLock();
                if (cancellationToken.IsCancellationRequested)
                    return ValueTask.FromCanceled<ReadResult>(cancellationToken);
                if (HasResult_NeedsLock())
                    break;
                waits = _ring.Used <= _ring.Length / 4 || _bytes.BeginCopy().First is null;
                if (waits)
                    version = _read.Begin_NeedsLock(cancellationToken);
            }
            if (waits)
                return _read.Await(version, cancellationToken);
            CopyOut();
        }
        return new ValueTask<ReadResult>(TakeResult());
    }

    /// <inheritdoc/>
    public override bool TryRead(out ReadResult result)
    {
        result = default;
        lock (_gate)
        {
            ThrowIfCompleted_NeedsLock();
            if (!HasResult_NeedsLock())
                return false;
        }
        result = TakeResult();
        return true;
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
            long consumedTo = ReceivedBytes.PositionOf(consumed, _bytes.Consumed);
            _ring.Free(_bytes.Advance(consumedTo, ReceivedBytes.PositionOf(examined, consumedTo)));
        }
        CreditWriter.Give();
    }

    /// <inheritdoc/>
    public override void CancelPendingRead() => _read.CancelPending();

    /// <inheritdoc/>
    public override void Complete(Exception? exception = null)
    {
        bool wakes;
        lock (_gate)
        {
            if (_isCompleted)
                return;
            _isCompleted = true;
            CreditWriter.IsOver = true;
            // This is like closing a socket during a read.
            if (_read.IsActive)
                _error ??= new ConnectionAbortedException("The reader was completed, or the connection disposed, while a read was pending.");
            if (!_isCopying)
                EndReading_NeedsLock();
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            _read.Schedule();
        _owner.OnReaderCompleted();
    }

    /// <summary>Copies received bytes out of the ring.</summary>
    private void CopyOut()
    {
        ReceivedBytes.CopyOut copying;
        lock (_gate)
        {
            copying = _isCompleted ? default : _bytes.BeginCopy();
            if (copying.First is null)
                return;
            _isCopying = true;
        }
        bool ends;
        try
        {
            copying = _bytes.Copy(copying);
        }
        finally
        {
            lock (_gate)
            {
                _isCopying = false;
                if (copying.Target is not null)
                    _ring.Free(_bytes.EndCopy(copying));
                ends = _isCompleted;
                if (ends)
                    EndReading_NeedsLock();
            }
        }
        if (ends)
            _owner.CheckEnd();
        CreditWriter.Give();
    }

    private void EndReading_NeedsLock()
    {
        _ring.IsSkipping = true;
        _ring.Free(_bytes.Advance(_bytes.Position, _bytes.Position));
    }

    private bool HasResult_NeedsLock() => (_error is not null && !_ring.IsEnded) || _read.IsCancelPending || _ring.IsEnded || _bytes.Position > _bytes.Examined;

    private ReadResult TakeResult()
    {
        while (true)
        {
            lock (_gate)
            {
                ThrowIfCompleted_NeedsLock();
                if (_error is not null && !_ring.IsEnded)
                    throw _error;
                if (!_copies || _bytes.BeginCopy().First is null)
                {
                    var result = new ReadResult(_bytes.Unconsumed, _read.IsCancelPending, _ring.IsEnded);
                    _read.IsCancelPending = false;
                    return result;
                }
            }
            CopyOut();
        }
    }

    /// <summary>Whether a read waits, and can complete now.</summary>
    private bool TryWake_NeedsLock() => _read.IsActive && _read.TryEnd_NeedsLock(HasResult_NeedsLock() || _isCompleted);

    private void ThrowIfCompleted_NeedsLock()
    {
        if (_isCompleted)
            throw _error ?? new InvalidOperationException("Reading is not allowed after the reader was completed.");
    }
}
