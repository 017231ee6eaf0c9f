using System.Buffers;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Rings;

/// <summary>The reading end of a connection. It hands out the ring's own memory, and gives it back as its consumer advances.</summary>
/// <remarks>
/// <para>
/// The thread that finds a notification parses the run, appends a segment for each frame, and wakes the consumer.
/// </para>
/// <para>
/// A consumer may wait for more than the ring holds without having consumed anything (a message that is longer). Before it does, what it
/// leaves is copied out of the ring where that is over a quarter, so that the writer can always go on: a frame has up to a quarter of the ring, and
/// as much may be skipped at its end. Where reads are to hand out copies, all is copied that way. It is done outside of the lock; an end that comes meanwhile waits for it.
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
    /// <param name="first">The block that it begins with.</param>
    /// <param name="copies">Reads hand out copies, which the peer can't change.</param>
    public RingReader(IRingOwner owner, RingBlock first, bool copies = false)
    {
        _copies = copies;
        _owner = owner;
        CreditWriter = new CreditWriter(owner, _gate, first);
        _ring = new ArrivingRing(owner, first, CreditWriter, _bytes);
        _first = first;
        _read = new PipeWait<ReadResult>(owner, _gate, TakeResult, "read");
    }

    /// <summary>Gives the peer credit.</summary>
    public CreditWriter CreditWriter { get; }

    /// <summary>What the peer has given back of its own ring.</summary>
    public long Credit
    {
        get
        {
            lock (_gate)
                return _isClosed ? 0 : _first.Credit;
        }
    }

    /// <summary>The peer's stream has ended, or nothing of it is read any more; and no credit is being written.</summary>
    public bool IsQuiet
    {
        get
        {
            lock (_gate)
                return (_ring.IsEnded || _isCompleted || _error is not null) && !CreditWriter.IsWriting;
        }
    }

    /// <summary>The consumer holds no memory of the ring any more.</summary>
    public bool IsCompleted
    {
        get
        {
            lock (_gate)
                return _isCompleted && !_isCopying;
        }
    }

    /// <summary>The peer's stream has ended.</summary>
    public bool IsEnded
    {
        get
        {
            lock (_gate)
                return _ring.IsEnded;
        }
    }

    /// <summary>Bytes of the stream that have come.</summary>
    public long Position => _bytes.Position;

    /// <summary>The bytes of the ring.</summary>
    public int RingLength
    {
        get
        {
            lock (_gate)
                return _ring.Length;
        }
    }

    /// <summary>The bytes of the block that the ring is in.</summary>
    public long BlockLength
    {
        get
        {
            lock (_gate)
                return _ring.BlockLength;
        }
    }

    /// <summary>Begins to replace the ring, where that is of use and not under way already.</summary>
    /// <param name="isFirst">By the first one.</param>
    /// <returns>True: the caller calls <see cref="Offer"/>.</returns>
    public bool TryBeginOffer(bool isFirst)
    {
        lock (_gate)
            return CreditWriter.IsStarted && !_isCompleted && _error is null && _ring.TryBeginOffer(isFirst);
    }

    /// <summary>The ring that the writer is offered; null where there is none after all.</summary>
    public void Offer(RingBlock? ring)
    {
        lock (_gate)
            _ring.Offer(ring);
    }

    /// <summary>A run has come. The thread that makes progress calls this.</summary>
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

    /// <summary>Nothing more will come: the consumer gets the error.</summary>
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

    /// <summary>The memory goes back: what is announced from here on is not looked at.</summary>
    public void Close()
    {
        lock (_gate)
            _isClosed = true;
    }

    /// <summary>Tries once more what found no place among the endpoint's operations.</summary>
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
            // As where a socket is closed under a read.
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

    /// <summary>Copies out of the ring what has come.</summary>
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

    /// <summary>A read waits, and has something now.</summary>
    private bool TryWake_NeedsLock() => _read.IsActive && _read.TryEnd_NeedsLock(HasResult_NeedsLock() || _isCompleted);

    private void ThrowIfCompleted_NeedsLock()
    {
        if (_isCompleted)
            throw _error ?? new InvalidOperationException("Reading is not allowed after the reader was completed.");
    }
}
