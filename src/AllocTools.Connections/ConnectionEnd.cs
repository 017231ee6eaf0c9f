using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>The end of a connection: what is known of it at both sides, and which step is due.</summary>
/// <remarks>
/// <para>
/// A side is done when none of its writes is on its way and none will be; it says so (Done) on the control connection. It ends the control connection when the peer is done, too,
/// or has ended it. A side that had to give a write up which the transport may still carry out never says Done: it ends the control connection instead.
/// </para>
/// <para>
/// Memory goes back when its user has completed both directions, this side is done, and the peer is: at once where the peer's ended writes are in place, or the endpoint is
/// closed. Where the control connection has ended without Done, the peer's process may have ended, or the network between; then the memory stays in quarantine for as long as a write of the
/// peer may still come (<see cref="LatestWriteAsync"/>).
/// </para>
/// <para>
/// A peer that never says Done is not waited for without end: this side ends the control connection after a while (<see cref="GiveUpIfDue"/>), and at once after a violation. But where the transport
/// refuses no write of a peer, the memory stays as long as the peer is silent, since it might go on in the midst of a write.
/// </para>
/// </remarks>
internal sealed class ConnectionEnd
{
    /// <summary>How often it is looked whether the peer's process is still there.</summary>
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(100);

    private readonly RmaConnection _connection;
    private readonly RmaConnections _owner;
    private readonly ControlConnection _control;
    private readonly RingOffers _rings;
    private readonly ProcessTerms _peer;
    private readonly long? _peersStart;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _closed;
    private readonly TaskCompletionSource _localEnd = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _wholeEnd = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Exception? _error;
    private string? _errorType;
    private long _peerDoneAt;
    private long _waitsSince;
    private bool _waits;
    private bool _hasGivenUp;
    private bool _isViolated;
    private bool _isStarted;
    private bool _isDropped;
    private bool _hasEnded;
    private bool _isLocallyDone;
    private bool _hasSaidDone;
    private bool _mayWriteLate;
    private bool _isPeerDone;
    private bool _hasControlEnded;
    private bool _isSilent;
    private bool _isReleased;
    private bool _mayPeerGo;
    private bool _hasReportedClose;

    public ConnectionEnd(RmaConnection connection, RmaConnections owner, ControlConnection control, RingOffers rings, ProcessTerms peer, long? peersStart, CancellationTokenSource closed)
    {
        _closed = closed;
        _connection = connection;
        _owner = owner;
        _control = control;
        _rings = rings;
        _peer = peer;
        _peersStart = peersStart;
    }

    /// <summary>Completes when nothing is written from here any more.</summary>
    public Task LocalEnd => _localEnd.Task;

    /// <summary>Completes when all that the connection had was given back.</summary>
    public Task WholeEnd => _wholeEnd.Task;

    /// <summary>The error that it has ended by; null where it hasn't.</summary>
    public Exception? Error
    {
        get
        {
            lock (_gate)
                return _error;
        }
    }

    /// <summary>What that is called in metrics; null where it has ended in order, or not at all.</summary>
    public string? ErrorType
    {
        get
        {
            lock (_gate)
                return _errorType;
        }
    }

    /// <summary>Nothing is written from here any more, or it has ended by an error.</summary>
    public bool IsOver
    {
        get
        {
            lock (_gate)
                return _hasEnded || _isLocallyDone || _isReleased;
        }
    }

    /// <summary>The peer's process may end without being missed by the endpoint: it was said so there.</summary>
    public bool MayPeerGo
    {
        get
        {
            lock (_gate)
                return _mayPeerGo;
        }
    }

    /// <summary>Both directions move from here on.</summary>
    public void Start()
    {
        lock (_gate)
            _isStarted = true;
    }

    /// <summary>The set-up has failed before <see cref="Start"/>: nothing was written from here.</summary>
    public void Drop(bool peerKnowsBlock)
    {
        lock (_gate)
        {
            _isStarted = _isDropped = _hasControlEnded = true;
            _isPeerDone = !peerKnowsBlock;
        }
    }

    /// <summary>Ends both directions by an error; of several the first counts.</summary>
    /// <returns>True: this one.</returns>
    public bool TryEnd(Exception error, string errorType)
    {
        lock (_gate)
        {
            if (_hasEnded)
                return false;
            _hasEnded = true;
            _error = error;
            _errorType = errorType;
            return true;
        }
    }

    /// <summary>The peer does not keep to the protocol: its Done is not waited for.</summary>
    public void NoteViolation()
    {
        lock (_gate)
            _isViolated = true;
    }

    /// <summary>Waits no longer for a peer that is not done a while after this side. Called by a timer.</summary>
    public void GiveUpIfDue()
    {
        lock (_gate)
        {
            bool waits = _isLocallyDone && !_isPeerDone && !_hasControlEnded && (_hasEnded || _connection.IsCompleted);
            if (waits && !_waits)
                _waitsSince = _owner.Time.GetTimestamp();
            _waits = waits;
            TimeSpan limit = _owner.Options.PeerTimeout > _owner.Options.CloseTimeout ? _owner.Options.PeerTimeout : _owner.Options.CloseTimeout;
            if (!waits || _hasGivenUp || _owner.Time.GetElapsedTime(_waitsSince) < limit || (_isSilent && !_owner.Pool.Context.Traits.RemoteAccessEnforced))
                return;
            _hasGivenUp = true;
        }
        Check();
    }

    /// <summary>A write of this side was given up, and the transport may still carry it out.</summary>
    public void NoteLateWrite()
    {
        lock (_gate)
            _mayWriteLate = true;
    }

    /// <summary>The peer writes no more.</summary>
    public void NotePeerDone()
    {
        lock (_gate)
        {
            _peerDoneAt = _owner.Time.GetTimestamp();
            _isPeerDone = true;
        }
        Check();
    }

    /// <summary>Nothing more comes on the control connection.</summary>
    /// <returns>True where the peer was done before.</returns>
    public bool NoteControlEnded()
    {
        lock (_gate)
        {
            _hasControlEnded = true;
            return _isPeerDone;
        }
    }

    /// <summary>Nothing was heard of the peer for too long.</summary>
    /// <returns>False where that is of no importance any more.</returns>
    public bool TryNoteSilent()
    {
        lock (_gate)
        {
            if (_isSilent || _isPeerDone || _hasControlEnded)
                return false;
            return _isSilent = true;
        }
    }

    /// <summary>The peer was done for a while: what it has announced would have been found.</summary>
    public bool IsPeerLongDone
    {
        get
        {
            lock (_gate)
                return _isPeerDone && _isStarted && !_isDropped && _owner.Time.GetElapsedTime(_peerDoneAt) > _owner.Options.LateWrites;
        }
    }

    /// <summary>Tells the application that the connection is closed. Its callbacks run on the thread pool.</summary>
    public void ReportClosed()
    {
        lock (_gate)
        {
            if (_hasReportedClose)
                return;
            _hasReportedClose = true;
        }
        Task callbacks = _closed.CancelAsync();
        if (!callbacks.IsCompletedSuccessfully)
            _ = ObserveAsync(callbacks);
    }

    /// <summary>Takes the steps that are due.</summary>
    public void Check()
    {
        bool becomesDone = false, saysDone = false, finishesPeer, closes, releases, quarantines, isGraceful;
        lock (_gate)
        {
            if (!_isStarted || _isReleased)
                return;
            if (!_isLocallyDone && _connection.Writer.IsQuiet && _connection.Reader.IsQuiet)
            {
                becomesDone = _isLocallyDone = true;
                saysDone = !_mayWriteLate && !_isDropped;
            }
            finishesPeer = !_mayPeerGo && (_isPeerDone || (_isLocallyDone && !_hasEnded));
            _mayPeerGo |= finishesPeer;
            isGraceful = _isPeerDone;
            // Not by another thread between the end and its Done: that would not be sent any more.
            closes = _hasSaidDone && (_isPeerDone || _hasControlEnded || _mayWriteLate || _hasGivenUp || _isViolated);
            releases = _hasSaidDone && (_isPeerDone || _hasControlEnded || _owner.EndpointClosed.IsCancellationRequested) && _connection.Reader.IsCompleted && _connection.Writer.IsCompleted;
            _isReleased = releases;
            quarantines = _isSilent && _hasSaidDone && !releases && _connection.Reader.IsCompleted;
        }
        // Before the peer can know that this side is done.
        if (finishesPeer)
            _connection.FinishPeer();
        if (becomesDone)
        {
            _connection.EndImports();
            if (saysDone)
                _control.Post(ControlConnection.DoneFrame);
            _connection.Writer.Trim();
            _localEnd.TrySetResult();
            lock (_gate)
                _hasSaidDone = true;
            Check();
            return;
        }
        if (quarantines)
            Array.ForEach(_rings.All, static r => r.Quarantine());
        // A set-up that has failed says why before it ends the control connection.
        if (closes && !_isDropped)
            _control.Close();
        if (releases)
            _ = ReleaseAsync(isGraceful);
    }

    /// <summary>When the peer's process was started; null where it is on another host, or can't be seen.</summary>
    public static long? StartOf(ProcessTerms peer) => peer.Host != Guid.Empty && peer.Host == LocalHost.Id ? LocalHost.StartOf(peer.ProcessId) : null;

    /// <summary>Nothing of the connection is used any more here: its memory is given back as soon as its peer can't write into it.</summary>
    private async Task ReleaseAsync(bool isGraceful)
    {
        RingBlock[] rings = _rings.Close();
        Try(_connection.Writer.ReleaseTargets);
        if (!_owner.EndpointClosed.IsCancellationRequested && !(isGraceful && _peer.DeliveryComplete))
        {
            Array.ForEach(rings, r => Try(r.Quarantine));
            try
            {
                await LatestWriteAsync(isGraceful).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                // Nothing comes by an endpoint that is closed.
            }
        }
        Try(_connection.Reader.Close);
        Try(() => _owner.Remove(_connection));
        Array.ForEach(rings, r => Try(r.Dispose));
        _wholeEnd.TrySetResult();
    }

    /// <summary>Takes a step whose error must not keep the others from being taken.</summary>
    private void Try(Action step)
    {
        try
        {
            step();
        }
        catch (Exception e)
        {
            // Of whatever kind: nothing waits for this.
            ConnectionsLog.ReleaseFailed(_owner.Logger, _connection.ConnectionId, e);
        }
    }

    /// <summary>Waits until no write of the peer can come any more.</summary>
    /// <remarks>
    /// What had come to this system before is written when progress is made, for which <see cref="RmaConnectionOptions.LateWrites"/> is the time. New writes come only where the
    /// transport does not refuse them, since the exposure has ended, and the peer's process lives on, without its control connection: it finds that within its PeerTimeout, and its last
    /// write ends within its OperationTimeout.
    /// </remarks>
    private async Task LatestWriteAsync(bool isPeerDone)
    {
        if (!isPeerDone && !_owner.Pool.Context.Traits.RemoteAccessEnforced)
        {
            long start = _owner.Time.GetTimestamp();
            while (_owner.Time.GetElapsedTime(start) < _peer.LatestWrite && (_peersStart is null || LocalHost.StartOf(_peer.ProcessId) == _peersStart))
                await Task.Delay(_peersStart is null ? _peer.LatestWrite : LookInterval, _owner.Time, _owner.EndpointClosed).ConfigureAwait(false);
        }
        await Task.Delay(_owner.Options.LateWrites, _owner.Time, _owner.EndpointClosed).ConfigureAwait(false);
    }

    private async Task ObserveAsync(Task callbacks)
    {
        try
        {
            await callbacks.ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // Of whatever kind: it is the application's.
            ConnectionsLog.CallbackFailed(_owner.Logger, _connection.ConnectionId, e);
        }
    }
}
