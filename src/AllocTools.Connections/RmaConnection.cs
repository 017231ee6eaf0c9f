using System.IO.Pipelines;
using System.Net;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints.Engine;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace AllocTools.Connections;

/// <summary>
/// A byte stream in both directions over registered memory: what a socket's connection is to Kestrel and to clients. Made by
/// <see cref="RmaConnections"/>, a listener or a factory; dispose it when it is no longer used.
/// </summary>
/// <remarks>
/// <para>
/// Reading and writing are of one user each at a time, as of any pipe. <see cref="PipeWriter.Complete"/> of <see cref="Transport"/>'s output
/// ends one direction (half-close); <see cref="DisposeAsync"/> ends both, once the peer has taken what was written.
/// </para>
/// <para>
/// Its end: a side whose writes have all ended says so on the control connection (Done). The memory that the peer may write into is given back
/// when the peer has said so, too; or when the control connection has ended, which the system sees to where the peer's process has; never while a
/// peer that is silent might still write.
/// </para>
/// </remarks>
public sealed class RmaConnection : ConnectionContext, IRingOwner, IDuplexPipe, IConnectionIdFeature, IConnectionTransportFeature, IConnectionItemsFeature, IConnectionLifetimeFeature, IConnectionEndPointFeature
{
    private static readonly byte[] HeartbeatFrame = ControlConnection.Frame(ControlKind.Heartbeat, []);
    private static readonly byte[] StopFrame = ControlConnection.Frame(ControlKind.Stop, []);
    private static readonly byte[] AbortFrame = ControlConnection.Frame(ControlKind.Abort, []);
    private static readonly byte[] DoneFrame = ControlConnection.Frame(ControlKind.Done, []);

    private readonly RmaConnections _owner;
    private readonly ControlConnection _control;
    private readonly RingBlock _block;
    private readonly RingReader _reader;
    private readonly RingWriter _writer;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _closed = new();
    private readonly TaskCompletionSource _localEnd = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _wholeEnd = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<RingBlock> _rings = [];
    private readonly List<RemoteRegion> _imported = [];
    private RemoteRegion? _region;
    private readonly RmaPeer _peer;
    private int _peersNumber;
    private long _lastPosition;
    private long _lastChange;
    private Exception? _error;
    private string? _errorType;
    private bool _isStarted;
    private bool _hasEnded;
    private bool _isLocallyDone;
    private bool _isPeerDone;
    private bool _hasControlEnded;
    private bool _isSilent;
    private bool _isReleased;
    private bool _hasReportedClose;
    private int _disposed;
    private string? _id;
    private IDictionary<object, object?>? _items;

    internal RmaConnection(RmaConnections owner, ControlConnection control, RingBlock block, int number, RmaPeer peer)
    {
        _owner = owner;
        _control = control;
        _block = block;
        _peer = peer;
        Number = number;
        _reader = new RingReader(this, block);
        _writer = new RingWriter(this, _reader, block, owner.Pool, RmaConnections.StagingBytes, owner.Options.PauseWriterBytes);
        ConnectionClosed = _closed.Token;
        Transport = this;
        var features = new FeatureCollection();
        features.Set<IConnectionIdFeature>(this);
        features.Set<IConnectionTransportFeature>(this);
        features.Set<IConnectionItemsFeature>(this);
        features.Set<IConnectionLifetimeFeature>(this);
        features.Set<IConnectionEndPointFeature>(this);
        Features = features;
    }

    /// <inheritdoc/>
    public override string ConnectionId
    {
        get => _id ??= CorrelationIdGenerator.Next();
        set => _id = value;
    }

    /// <inheritdoc/>
    public override IFeatureCollection Features { get; }

    /// <inheritdoc/>
    public override IDictionary<object, object?> Items
    {
        get => _items ??= new ConnectionItems();
        set => _items = value;
    }

    /// <summary>Both directions.</summary>
    public override IDuplexPipe Transport { get; set; }

    /// <summary>Cancelled once the peer's stream has ended or the connection is over.</summary>
    public override CancellationToken ConnectionClosed { get; set; }

    /// <summary>This side of the control connection.</summary>
    public override EndPoint? LocalEndPoint { get; set; }

    /// <summary>The peer's side of the control connection.</summary>
    public override EndPoint? RemoteEndPoint { get; set; }

    /// <summary>What the peer writes.</summary>
    public PipeReader Input => _reader;

    /// <summary>What the peer reads.</summary>
    public PipeWriter Output => _writer;

    /// <summary>The random number of the peer's process.</summary>
    public Guid PeerProcess { get; internal set; }

    /// <summary>This side's number of it.</summary>
    internal int Number { get; }

    internal RmaPeer Peer => _peer;

    /// <summary>It ends by itself, or is aborted in time.</summary>
    internal bool IsDisposing => Volatile.Read(ref _disposed) != 0;

    /// <summary>What the peer needs to write to this side.</summary>
    internal RemoteMemory Block => _block.Remote;

    internal RingReader Reader => _reader;

    internal RingWriter Writer => _writer;

    /// <summary>Completes when all that it had was given back.</summary>
    internal Task WholeEnd => _wholeEnd.Task;

    /// <summary>It is over: both directions end by an error. Never throws; the peer is notified, and gets an error, too.</summary>
    /// <param name="abortReason">What this side's reads end by.</param>
    public override void Abort(ConnectionAbortedException abortReason) => End(abortReason ?? new ConnectionAbortedException("The connection was aborted by this side."), "aborted by this side", "aborted", tellsPeer: true);

    /// <inheritdoc cref="Abort(ConnectionAbortedException)"/>
    public override void Abort() => Abort(new ConnectionAbortedException("The connection was aborted by this side."));

    /// <summary>A stream over both directions; disposing it disposes the connection, for which <see cref="Stream.Dispose()"/> does not wait.</summary>
    public Stream AsStream() => new RmaConnectionStream(this);

    /// <summary>
    /// Makes memory usable that the peer has exposed, and told of over this connection, for reads and writes by <see cref="RmaConnections.Endpoint"/>. It is bound to the
    /// peer's process: it can't be used any more once this connection is over, so nothing is written to where a process has died.
    /// </summary>
    /// <param name="memory">What the peer's exposure gave.</param>
    /// <exception cref="RmaProviderException">The memory is of another process than the peer's.</exception>
    /// <exception cref="ObjectDisposedException">The connection is over.</exception>
    public RemoteRegion Import(RemoteMemory memory)
    {
        RemoteRegion region = _owner.Import(_peer, memory);
        lock (_gate)
        {
            if (!_hasEnded && !_isLocallyDone && !_isReleased)
            {
                _imported.Add(region);
                return region;
            }
        }
        region.Dispose();
        throw new ObjectDisposedException(nameof(RmaConnection), "The connection is over: what its peer has exposed can't be reached any more.");
    }

    /// <summary>
    /// Ends the connection. What was written reaches the peer, for which this waits up to <see cref="RmaConnectionOptions.CloseTimeout"/>;
    /// then it is aborted. A read that is pending fails; where a flush is, the connection is aborted at once. Never throws.
    /// </summary>
    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            // Nobody will write the rest.
            if (_writer.IsFlushPending)
                End(new ConnectionAbortedException("The connection was disposed while a flush was pending."), "disposed while a flush was pending", "disposed", tellsPeer: true);
            CompleteWriter();
            _reader.Complete();
        }
        TimeSpan limit = _owner.Options.CloseTimeout;
        if (!await EndsWithinAsync(_localEnd.Task, limit).ConfigureAwait(false))
        {
            End(new ConnectionAbortedException("The peer did not take in time what was written."), "disposed before the peer had taken what was written", "close_timeout", tellsPeer: true);
            await EndsWithinAsync(_localEnd.Task, limit).ConfigureAwait(false);
        }
        await base.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>The peer's block is known: both directions move from here on.</summary>
    internal void Start(RemoteRegion region, int peersNumber)
    {
        lock (_gate)
        {
            _region = region;
            _peersNumber = peersNumber;
            _lastChange = _owner.Time.GetTimestamp();
            _isStarted = true;
        }
        _control.EndSetUp();
        _reader.Start(new CreditTarget(region.Slice(0, RingBlock.CreditLength), new Notice(peersNumber, NoticeKind.Credit, 0).Encode()));
        _writer.Start(new RingTarget(region, RingBlock.WordsLength, RingBlock.RingLengthOf(region.Length, isFirst: true), peersNumber));
        _ = Task.Run(ReadControlAsync);
    }

    /// <summary>The set-up has failed before <see cref="Start"/>. The peer may know the block.</summary>
    internal void Drop(Exception error, bool peerKnowsBlock)
    {
        lock (_gate)
        {
            _isStarted = true;
            _isPeerDone = !peerKnowsBlock;
            _hasControlEnded = true;
        }
        End(error, error.Message, ConnectionTotals.TypeOf(error), tellsPeer: false);
        _writer.Complete();
        _reader.Complete();
        _control.Dispose();
    }

    /// <summary>A peer's write has come. The thread that makes progress calls this.</summary>
    internal void OnNotification(Notice notice)
    {
        long credit;
        string? mistake = null;
        switch (notice.Kind)
        {
            case NoticeKind.Data or NoticeKind.DataAtStart:
                mistake = _reader.OnRun(notice.Sequence, notice.Kind == NoticeKind.DataAtStart, out credit, out bool wantsMore);
                if (wantsMore && _reader.RingLength < _owner.Options.MaxRingBytes && _reader.TryBeginOffer(isFirst: false))
                    ThreadPool.UnsafeQueueUserWorkItem(static c => c.Grow(), this, preferLocal: false);
                break;
            case NoticeKind.Credit:
                credit = _block.Credit;
                break;
            default:
                mistake = $"a notification has the unknown kind {notice.Kind}";
                credit = 0;
                break;
        }
        if (mistake is null && credit != 0 && !_writer.OnCredit(credit))
            mistake = "it gives credit for more than was sent";
        if (mistake is not null)
            OnViolation(mistake);
    }

    /// <summary>Says that this side is alive, and sees whether the peer is. Called by a timer.</summary>
    internal void Watch()
    {
        if (!Volatile.Read(ref _isStarted))
            return;
        _control.PostIfIdle(HeartbeatFrame);
        _writer.Trim();
        ShrinkIfIdle();
        TimeSpan silence = _control.Silence;
        if (silence < _owner.Options.PeerTimeout)
            return;
        lock (_gate)
        {
            if (_isSilent || _isPeerDone || _hasControlEnded)
                return;
            _isSilent = true;
        }
        ConnectionsLog.PeerSilent(_owner.Logger, ConnectionId, silence.TotalSeconds);
        End(new ConnectionResetException($"Nothing was heard of the peer for {silence.TotalSeconds:0.#} s (PeerTimeout)."), "the peer is silent", "peer_silent", tellsPeer: true);
    }

    /// <summary>Ends both directions by an error; of several the first counts.</summary>
    /// <param name="error">What this side's reads end by.</param>
    /// <param name="reason">Why, for the log.</param>
    /// <param name="errorType">What it is called in metrics.</param>
    /// <param name="tellsPeer">The peer does not know.</param>
    internal void End(Exception error, string reason, string errorType, bool tellsPeer)
    {
        lock (_gate)
        {
            if (_hasEnded)
                return;
            _hasEnded = true;
            _error = error;
            _errorType = errorType;
        }
        ConnectionsLog.Ended(_owner.Logger, ConnectionId, reason);
        EndImports();
        _writer.Discard();
        _reader.Fail(error);
        if (tellsPeer)
            _control.Post(AbortFrame);
        ReportClosed();
        Check();
    }

    /// <summary>The error that it has ended by; null where it hasn't.</summary>
    internal Exception? Error
    {
        get
        {
            lock (_gate)
                return _error;
        }
    }

    /// <summary>What that is called in metrics; null where it has ended in order, or not at all.</summary>
    internal string? ErrorType
    {
        get
        {
            lock (_gate)
                return _errorType;
        }
    }

    /// <summary>Nothing is written from here any more, or it has ended by an error.</summary>
    internal bool IsOver
    {
        get
        {
            lock (_gate)
                return _hasEnded || _isLocallyDone;
        }
    }

    internal void Retry()
    {
        _reader.Retry();
        _writer.Retry();
    }

    bool IRingOwner.TryStart(in RmaOperation operation, IOperationOwner owner)
    {
        try
        {
            return _owner.TryStart(operation, owner);
        }
        catch (Exception e) when (e is RmaException or ObjectDisposedException or InvalidOperationException or ArgumentException)
        {
            // As if it had been started.
            _owner.NoteRefused();
            owner.OnEnded(operation.Context, e);
            return true;
        }
    }

    void IRingOwner.RetryLater() => _owner.RetryLater(this);

    void IRingOwner.Schedule(IThreadPoolWorkItem item) => _owner.Schedule(item);

    void IRingOwner.OnWriteFailed(Exception error) =>
        End(new ConnectionResetException($"The connection has failed: {error.Message}", error), error.Message, ConnectionTotals.TypeOf(error), tellsPeer: true);

    void IRingOwner.OnOperationEnded()
    {
        _owner.OnOperationEnded();
        Check();
    }

    void IRingOwner.OnStreamEnded()
    {
        ReportClosed();
        Check();
    }

    void IRingOwner.OnWriterCompleted() => Check();

    void IRingOwner.OnReaderCompleted()
    {
        if (!_reader.IsEnded)
            _control.Post(StopFrame);
        Check();
    }

    void IRingOwner.Retire(RingBlock ring) =>
        ThreadPool.UnsafeQueueUserWorkItem(static state => state.Connection.Retire(state.Ring), (Connection: this, Ring: ring), preferLocal: false);

    private static async Task<bool> EndsWithinAsync(Task task, TimeSpan limit)
    {
        if (!task.IsCompleted)
            await Task.WhenAny(task, Task.Delay(limit)).ConfigureAwait(false);
        return task.IsCompleted;
    }

    /// <summary>Offers the peer a larger ring.</summary>
    private void Grow()
    {
        RingBlock? ring = null;
        bool isOffered;
        long length = Math.Min(_owner.Options.MaxRingBytes, Math.Max(_owner.Options.InitialRingBytes, _reader.RingLength) * 4L);
        try
        {
            ring = new RingBlock(_owner.Pool, (int)length, isFirst: false);
        }
        catch (Exception e) when (e is RmaException or ObjectDisposedException)
        {
            // The pool has no room: it goes on in the ring that it has.
        }
        lock (_gate)
        {
            isOffered = ring is not null && !_isReleased && !_hasEnded;
            if (isOffered)
                _rings.Add(ring!);
        }
        _reader.Offer(isOffered ? ring : null);
        if (isOffered)
            _control.Post(ControlConnection.Frame(ControlKind.Offer, ring!.Remote.ToArray()));
        else
            ring?.Dispose();
    }

    /// <summary>Has the peer go back to the first ring, where nothing has come for long.</summary>
    private void ShrinkIfIdle()
    {
        long position = _reader.Position;
        if (position != _lastPosition)
        {
            _lastPosition = position;
            _lastChange = _owner.Time.GetTimestamp();
            return;
        }
        TimeSpan limit = _owner.Options.IdleShrinkAfter;
        if (limit == Timeout.InfiniteTimeSpan || _owner.Time.GetElapsedTime(_lastChange) < limit || !_reader.TryBeginOffer(isFirst: true))
            return;
        _reader.Offer(_block);
        _control.Post(ControlConnection.Frame(ControlKind.Offer, []));
    }

    private void Retire(RingBlock ring)
    {
        lock (_gate)
        {
            if (!_rings.Remove(ring))
                return;
        }
        ring.Dispose();
    }

    private void CompleteWriter()
    {
        try
        {
            _writer.Complete();
        }
        catch (RmaException e)
        {
            // No staging memory for the end of the stream.
            End(new ConnectionAbortedException(e.Message, e), e.Message, ConnectionTotals.TypeOf(e), tellsPeer: true);
        }
    }

    private async Task ReadControlAsync()
    {
        Exception? error = null;
        try
        {
            while (true)
            {
                (ControlKind kind, ReadOnlyMemory<byte> payload) = await _control.ReadAsync(CancellationToken.None).ConfigureAwait(false);
                if (kind == ControlKind.None)
                    break;
                OnControl(kind, payload.Span);
            }
        }
        catch (RmaConnectionException e)
        {
            OnViolation(e.Message.TrimEnd('.'));
            error = e;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException or System.Net.Sockets.SocketException)
        {
            error = e;
        }
        bool isOrderly;
        lock (_gate)
        {
            _hasControlEnded = true;
            isOrderly = _isPeerDone;
        }
        if (!isOrderly)
            End(new ConnectionResetException("The peer's process has ended, or has cut the control connection.", error ?? new IOException("The control connection has ended.")), "the control connection has ended", "peer_ended", tellsPeer: false);
        _control.Dispose();
        Check();
    }

    private void OnControl(ControlKind kind, ReadOnlySpan<byte> payload)
    {
        switch (kind)
        {
            case ControlKind.Heartbeat:
                break;
            case ControlKind.Stop:
                _writer.Discard();
                Check();
                break;
            case ControlKind.Abort:
                End(new ConnectionResetException("The peer has aborted the connection."), "aborted by the peer", "peer_aborted", tellsPeer: false);
                break;
            case ControlKind.Done:
                lock (_gate)
                    _isPeerDone = true;
                Check();
                break;
            case ControlKind.Offer:
                OnOffer(SetUpMessages.ReadOffer(payload));
                break;
            default:
                throw new RmaConnectionException($"The peer has sent a frame of kind {(int)kind} on the control connection, which has no place there.");
        }
    }

    private void OnOffer(RemoteMemory? memory)
    {
        RingTarget? target = null;
        if (memory is { } ring)
        {
            try
            {
                target = new RingTarget(_owner.Import(_peer, ring), 0, RingBlock.RingLengthOf(ring.Length, isFirst: false), _peersNumber);
            }
            catch (Exception e) when (e is RmaException or ArgumentException)
            {
                throw new RmaConnectionException($"The peer has offered a ring that can't be used: {e.Message}", e);
            }
        }
        if (_writer.OnOffer(target))
            return;
        target?.Region.Dispose();
        throw new RmaConnectionException("The peer has offered a ring while another offer is open, or the one that is in use.");
    }

    private void OnViolation(string mistake)
    {
        ConnectionsLog.ProtocolViolated(_owner.Logger, ConnectionId, mistake);
        End(new ConnectionAbortedException($"The peer does not keep to the protocol: {mistake}."), mistake, "protocol", tellsPeer: true);
    }

    private void ReportClosed()
    {
        lock (_gate)
        {
            if (_hasReportedClose)
                return;
            _hasReportedClose = true;
        }
        // The application's callbacks run elsewhere.
        ThreadPool.UnsafeQueueUserWorkItem(static closed => closed.Cancel(), _closed, preferLocal: false);
    }

    /// <summary>Takes the steps of the end that are due.</summary>
    private void Check()
    {
        bool tellsDone = false, closes, releases, quarantines, isGraceful;
        lock (_gate)
        {
            if (!_isStarted || _isReleased)
                return;
            if (!_isLocallyDone && _writer.IsQuiet && _reader.IsQuiet)
                tellsDone = _isLocallyDone = true;
            isGraceful = _isPeerDone;
            closes = _isLocallyDone && (_isPeerDone || _hasControlEnded);
            releases = closes && _reader.IsCompleted && _writer.IsCompleted;
            _isReleased = releases;
            quarantines = _isSilent && _isLocallyDone && !releases && _reader.IsCompleted;
        }
        if (tellsDone)
        {
            EndImports();
            _control.Post(DoneFrame);
            _writer.Trim();
            _localEnd.TrySetResult();
        }
        if (quarantines)
            Array.ForEach(Rings(), static r => r.Quarantine());
        if (closes)
            _control.Close();
        if (!releases)
            return;
        _writer.ReleaseTargets();
        _owner.Release(this, Rings(), _region, isGraceful);
    }

    private void EndImports()
    {
        lock (_gate)
        {
            _imported.ForEach(static r => r.Dispose());
            _imported.Clear();
        }
    }

    /// <summary>All memory that the peer may write into.</summary>
    private RingBlock[] Rings()
    {
        lock (_gate)
            return [_block, .. _rings];
    }

    /// <summary>Its memory is back.</summary>
    internal void OnReleased() => _wholeEnd.TrySetResult();

    /// <summary>The endpoint is closed: nothing is written to or from here any more, whatever the peer says.</summary>
    internal void ForceRelease()
    {
        lock (_gate)
            _isStarted = _isPeerDone = _hasControlEnded = true;
        End(new ConnectionAbortedException("The connections were closed."), "the connections were closed", "closed", tellsPeer: false);
        _writer.Complete();
        _reader.Complete();
        _control.Dispose();
        Check();
        // What was kept for writes that might come late.
        if (Volatile.Read(ref _isReleased))
            _owner.End(this, Rings());
    }
}
