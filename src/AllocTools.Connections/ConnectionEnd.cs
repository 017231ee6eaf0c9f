using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>The end of a connection: its state on both sides, and the next step.</summary>
/// <remarks>
/// <para>
/// A side is done when it has no writes in flight and will start none; it reports this (Done) on the control
/// connection. It closes the control connection when the peer is done, too, or has closed it. A side that had to
/// abandon a write that the transport may still execute never sends Done: it closes the control connection instead.
/// </para>
/// <para>
/// Memory is released when its user has completed both directions, and both sides are done: immediately if the peer's
/// completed writes are in place, or if the endpoint is closed. If the control connection has ended without Done, the
/// peer's process or the network may have failed; then the memory stays quarantined as long as a write of the peer may
/// still arrive (<see cref="LatestWriteAsync"/>).
/// </para>
/// <para>
/// This side does not wait forever for a peer that never sends Done: it closes the control connection after a while
/// (<see cref="GiveUpIfDue"/>), and immediately after a violation. But if the transport can't refuse writes of a peer,
/// the memory is kept as long as the peer is silent, because it might continue in the middle of a write.
/// </para>
/// </remarks>
internal sealed class ConnectionEnd
{
    /// <summary>How often to check whether the peer's process still exists.</summary>
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

    /// <summary>Completes when this side writes no more.</summary>
    public Task LocalEnd => _localEnd.Task;

    /// <summary>Completes when all resources of the connection are released.</summary>
    public Task WholeEnd => _wholeEnd.Task;

    /// <summary>The error with which it has ended; null if it has not ended with an error.</summary>
    public Exception? Error
    {
        get
        {
            lock (_gate)
                return _error;
        }
    }

    /// <summary>The error's name in metrics; null if it has ended in order, or not at all.</summary>
    public string? ErrorType
    {
        get
        {
            lock (_gate)
                return _errorType;
        }
    }

    /// <summary>Whether this side writes no more, or the connection has ended with an error.</summary>
    public bool IsOver
    {
        get
        {
            lock (_gate)
                return _hasEnded || _isLocallyDone || _isReleased;
        }
    }

    /// <summary>Whether the endpoint was informed that the peer's process may end.</summary>
    public bool MayPeerGo
    {
        get
        {
            lock (_gate)
                return _mayPeerGo;
        }
    }

    /// <summary>Starts both directions.</summary>
    public void Start()
    {
        lock (_gate)
            _isStarted = true;
    }

    /// <summary>Called when the set-up has failed before <see cref="Start"/>, so that this side has written nothing.</summary>
    public void Drop(bool peerKnowsBlock)
    {
        lock (_gate)
        {
            _isStarted = _isDropped = _hasControlEnded = true;
            _isPeerDone = !peerKnowsBlock;
        }
    }

    /// <summary>Ends both directions with an error; the first one counts.</summary>
    /// <returns>True if this is the first one.</returns>
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

    /// <summary>Called when the peer has violated the protocol: this side does not wait for its Done.</summary>
    public void NoteViolation()
    {
        lock (_gate)
            _isViolated = true;
    }

    /// <summary>Stops waiting for a peer that is not done a while after this side. A timer calls this.</summary>
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

    /// <summary>Called when a write of this side was abandoned, and the transport may still execute it.</summary>
    public void NoteLateWrite()
    {
        lock (_gate)
            _mayWriteLate = true;
    }

    /// <summary>Called when the peer writes no more.</summary>
    public void NotePeerDone()
    {
        lock (_gate)
        {
            _peerDoneAt = _owner.Time.GetTimestamp();
            _isPeerDone = true;
        }
        Check();
    }

    /// <summary>Called when no more frames will arrive on the control connection.</summary>
    /// <returns>True if the peer was already done.</returns>
    public bool NoteControlEnded()
    {
        lock (_gate)
        {
            _hasControlEnded = true;
            return _isPeerDone;
        }
    }

    /// <summary>Called when the peer has been silent for too long.</summary>
    /// <returns>False if that no longer matters.</returns>
    public bool TryNoteSilent()
    {
        lock (_gate)
        {
            if (_isSilent || _isPeerDone || _hasControlEnded)
                return false;
            return _isSilent = true;
        }
    }

    /// <summary>Whether the peer has been done for so long that its last announcements would have been found by now.</summary>
    public bool IsPeerLongDone
    {
        get
        {
            lock (_gate)
                return _isPeerDone && _isStarted && !_isDropped && _owner.Time.GetElapsedTime(_peerDoneAt) > _owner.Options.LateWrites;
        }
    }

    /// <summary>Notifies the application that the connection is closed. Its callbacks run on the thread pool.</summary>
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

    /// <summary>Performs all steps that are due.</summary>
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
            // No other thread may do this between the end and its Done, because Done would then not be sent.
            closes = _hasSaidDone && (_isPeerDone || _hasControlEnded || _mayWriteLate || _hasGivenUp || _isViolated);
            releases = _hasSaidDone && (_isPeerDone || _hasControlEnded || _owner.EndpointClosed.IsCancellationRequested) && _connection.Reader.IsCompleted && _connection.Writer.IsCompleted;
            _isReleased = releases;
            quarantines = _isSilent && _hasSaidDone && !releases && _connection.Reader.IsCompleted;
        }
        // This comes before the peer can know that this side is done.
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
        // A failed set-up sends the reason before it closes the control connection.
        if (closes && !_isDropped)
            _control.Close();
        if (releases)
            _ = ReleaseAsync(isGraceful);
    }

    /// <summary>Returns when the peer's process was started; null if it is on another host, or can't be seen.</summary>
    public static long? StartOf(ProcessTerms peer) => peer.Host != Guid.Empty && peer.Host == LocalHost.Id ? LocalHost.StartOf(peer.ProcessId) : null;

    /// <summary>Releases the memory of a connection that this side no longer uses, as soon as the peer can't write to it any more.</summary>
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
                // A closed endpoint receives nothing.
            }
        }
        Try(_connection.Reader.Close);
        Try(() => _owner.Remove(_connection));
        Array.ForEach(rings, r => Try(r.Dispose));
        _wholeEnd.TrySetResult();
    }

    /// <summary>Performs a step whose error must not prevent the others.</summary>
    private void Try(Action step)
    {
        try
        {
            step();
        }
        catch (Exception e)
        {
            // All exceptions are caught, because nothing awaits this.
            ConnectionsLog.ReleaseFailed(_owner.Logger, _connection.ConnectionId, e);
        }
    }

    /// <summary>Waits until no write of the peer can arrive any more.</summary>
    /// <remarks>
    /// Writes that had already reached this system are executed when progress is made, within
    /// <see cref="RmaConnectionOptions.LateWrites"/>. New writes arrive only if the transport can't refuse them after
    /// the exposure has ended, and if the peer's process still runs without its control connection: it detects that
    /// within its PeerTimeout, and its last write ends within its OperationTimeout.
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
            // All exceptions are caught, because they come from the application.
            ConnectionsLog.CallbackFailed(_owner.Logger, _connection.ConnectionId, e);
        }
    }
}
