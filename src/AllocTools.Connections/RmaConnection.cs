using System.IO.Pipelines;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace AllocTools.Connections;

/// <summary>
/// A byte stream in both directions over registered memory: what a socket's connection is to Kestrel and to clients. Made by
/// <see cref="RmaConnections"/>, a listener or a factory; dispose it when it is no longer used.
/// </summary>
/// <remarks>
/// Reading and writing are of one user each at a time, as of any pipe. <see cref="PipeWriter.Complete"/> of <see cref="Transport"/>'s output
/// ends one direction (half-close); <see cref="DisposeAsync"/> ends both, once the peer has taken what was written. What a read has given is valid until
/// <see cref="PipeReader.AdvanceTo(SequencePosition)"/>, <see cref="PipeReader.Complete"/> or <see cref="DisposeAsync"/>, also where the connection ends meanwhile.
/// </remarks>
public sealed partial class RmaConnection : ConnectionContext, IDuplexPipe, IConnectionIdFeature, IConnectionTransportFeature, IConnectionItemsFeature, IConnectionLifetimeFeature, IConnectionEndPointFeature, IRmaConnectionFeature
{
    private readonly RmaConnections _owner;
    private readonly ControlConnection _control;
    private readonly RingBlock _block;
    private readonly FrameForm _form;
    private readonly RingReader _reader;
    private readonly RingWriter _writer;
    private readonly RingOffers _rings;
    private readonly ConnectionEnd _end;
    private readonly CancellationTokenSource _closed = new();
    private readonly ProcessTerms _terms;
    private readonly OperationShares.PeerShare _share;
    private readonly Lock _gate = new();
    private readonly List<RemoteRegion> _imported = [];
    private int _mostImported = 16;
    private RmaConnectionStream? _stream;
    private int _disposed;
    private string? _id;
    private IDictionary<object, object?>? _items;

    internal RmaConnection(RmaConnections owner, ControlConnection control, RingBlock block, int number, RmaPeer peer, ProcessTerms terms, RmaIntegrity integrity, long? peersStart)
    {
        _owner = owner;
        _control = control;
        _block = block;
        _terms = terms;
        Peer = peer;
        Number = number;
        _form = new FrameForm(integrity);
        _reader = new RingReader(this, _form, number, block, owner.Options.CopyInput);
        _writer = new RingWriter(this, _form, _reader.CreditWriter, block, owner.Pool, owner.StagingShare, owner.Options.PauseWriterBytes);
        _rings = new RingOffers(owner, control, _reader, block);
        _end = new ConnectionEnd(this, owner, control, _rings, terms, peersStart, _closed);
        _share = owner.Shares.Join(peer);
        (ConnectionClosed, Transport) = (_closed.Token, this);
        var features = new FeatureCollection();
        features.Set<IConnectionIdFeature>(this);
        features.Set<IConnectionTransportFeature>(this);
        features.Set<IConnectionItemsFeature>(this);
        features.Set<IConnectionLifetimeFeature>(this);
        features.Set<IConnectionEndPointFeature>(this);
        features.Set<IMemoryPoolFeature>(ServerMemory.Instance);
        features.Set<IRmaConnectionFeature>(this);
        Features = features;
    }

    /// <inheritdoc/>
    public override string ConnectionId
    {
        get => _id ??= _owner.NewConnectionId();
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

    /// <summary>Cancelled once the peer's stream has ended or the connection is over; at the latest when <see cref="DisposeAsync"/> returns.</summary>
    public override CancellationToken ConnectionClosed { get; set; }

    /// <summary>This side of the control connection.</summary>
    public override EndPoint? LocalEndPoint { get; set; }

    /// <summary>The peer's side of the control connection.</summary>
    public override EndPoint? RemoteEndPoint { get; set; }

    /// <summary>What the peer writes.</summary>
    public PipeReader Input => _reader;

    /// <summary>What the peer reads.</summary>
    public PipeWriter Output => _writer;

    /// <summary>
    /// The certificate by which the peer has proved who it is, with TLS of the control connection: the listener's, or the connecting side's where <see cref="RmaConnectionOptions.ServerAuthentication"/> asks for one.
    /// Null without TLS, or where the peer has shown none. It has passed the checks of these options, and remains valid when the connection is over.
    /// </summary>
    public X509Certificate2? RemoteCertificate { get; internal set; }

    /// <summary>The random number of the peer's process.</summary>
    public Guid PeerProcess => _terms.Process;

    /// <summary>The check value that everything carries which goes through it: the stronger one of those that both sides have set (<see cref="RmaConnectionOptions.Integrity"/>).</summary>
    public RmaIntegrity Integrity => _form.Integrity;

    /// <summary>The transport that carries it, such as <c>tcp;ofi_rxm</c> or <c>shm</c>.</summary>
    public string Provider => _owner.Provider;

    /// <summary>
    /// The endpoint that carries it: that of the <see cref="RmaConnections"/> that it was made by, or of their local pool's. What was imported by <see cref="Import"/> is read and written by this one.
    /// The notifications that come there are the connections' own; don't dispose it.
    /// </summary>
    public IRmaEndpoint Endpoint => _owner.Endpoint;

    /// <summary>The pool whose memory that endpoint reads and writes, and can expose to the peer. Don't dispose it.</summary>
    public IRmaMemoryPool Pool => _owner.Pool;

    /// <summary>How many imported regions it remembers, those that their user has disposed included.</summary>
    internal int ImportedCount
    {
        get
        {
            lock (_gate)
                return _imported.Count;
        }
    }

    RmaConnection IRmaConnectionFeature.Connection => this;

    /// <summary>What it has of the endpoint's operations, with all connections to its peer's endpoint.</summary>
    internal OperationShares.PeerShare Share => _share;

    /// <summary>Bytes that the peer has given back of its ring.</summary>
    internal long Credit => Volatile.Read(ref _credit);

    /// <summary>This side's number of it.</summary>
    internal int Number { get; }

    internal RmaPeer Peer { get; }

    /// <summary>Its set-up is complete.</summary>
    internal bool IsStarted => Volatile.Read(ref _region) is not null;

    /// <summary>It ends by itself, or is aborted in time.</summary>
    internal bool IsDisposing => Volatile.Read(ref _disposed) != 0;

    /// <summary>Its user has completed both directions.</summary>
    internal bool IsCompleted => _reader.IsCompleted && _writer.IsCompleted;

    /// <summary>What the peer needs to write to this side.</summary>
    internal RemoteMemory Block => _block.Remote;

    internal RingReader Reader => _reader;

    internal RingWriter Writer => _writer;

    /// <summary>Completes when all that it had was given back.</summary>
    internal Task WholeEnd => _end.WholeEnd;

    /// <inheritdoc cref="ConnectionEnd.Error"/>
    internal Exception? Error => _end.Error;

    /// <inheritdoc cref="ConnectionEnd.ErrorType"/>
    internal string? ErrorType => _end.ErrorType;

    /// <inheritdoc cref="ConnectionEnd.IsOver"/>
    internal bool IsOver => _end.IsOver;

    /// <summary>It is over: both directions end by an error. Never throws; the peer is notified, and gets an error, too.</summary>
    /// <param name="abortReason">What this side's reads end by.</param>
    public override void Abort(ConnectionAbortedException abortReason) => End(abortReason ?? new ConnectionAbortedException("The connection was aborted by this side."), "aborted by this side", "aborted", tellsPeer: true);

    /// <inheritdoc cref="Abort(ConnectionAbortedException)"/>
    public override void Abort() => Abort(null!);

    /// <summary>A stream over both directions; disposing it disposes the connection, for which <see cref="Stream.Dispose()"/> does not wait.</summary>
    /// <remarks>It is one for the connection.</remarks>
    public Stream AsStream()
    {
        lock (_gate)
            return _stream ??= new RmaConnectionStream(this);
    }

    /// <summary>
    /// Makes memory usable that the peer has exposed, and described over this connection, for reads and writes by <see cref="Endpoint"/>, with memory of <see cref="Pool"/>. The peer must have exposed it on
    /// its connection's <see cref="Pool"/>. It is bound to the peer's process: it can't be used any more once this connection is over, so nothing is written to where a process has died.
    /// </summary>
    /// <param name="memory">What the peer's exposure gave.</param>
    /// <exception cref="RmaProviderException">The memory is of another process than the peer's, or of another transport than the connection's.</exception>
    /// <exception cref="ObjectDisposedException">The connection is over.</exception>
    public RemoteRegion Import(RemoteMemory memory)
    {
        RemoteRegion region = _owner.Import(Peer, memory);
        lock (_gate)
        {
            if (!IsOver)
            {
                // Those that their user has disposed are of no use here.
                if (_imported.Count >= _mostImported)
                {
                    _imported.RemoveAll(static r => r.IsDisposed);
                    _mostImported = Math.Max(16, 2 * _imported.Count);
                }
                _imported.Add(region);
                return region;
            }
        }
        region.Dispose();
        throw new ObjectDisposedException(nameof(RmaConnection), "The connection has ended; its peer's memory can no longer be reached.");
    }

    /// <summary>
    /// Ends the connection. What was written reaches the peer, for which this waits as long as the peer takes some of it within each <see cref="RmaConnectionOptions.CloseTimeout"/>;
    /// then it is aborted. A read that is pending fails; where a flush is, the connection is aborted at once. Never throws.
    /// </summary>
    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            // Nothing writes the rest.
            if (_writer.IsFlushPending)
                EndUnwritten();
            _writer.Complete();
            RmaConnectionStream? stream;
            lock (_gate)
                stream = _stream;
            if (stream is null)
                _reader.Complete();
            else
                stream.CloseReading();
        }
        if (!await EndsInTimeAsync().ConfigureAwait(false))
        {
            End(new ConnectionAbortedException("The peer did not read the written data in time."), "disposed before the peer had read the written data", "close_timeout", tellsPeer: true);
            await EndsInTimeAsync().ConfigureAwait(false);
        }
        _end.ReportClosed();
        await base.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Who uses the stream holds none of the connection's memory but in a call: that need not wait for its disposal. HttpClient keeps connections that are idle.</summary>
    internal void CloseStream()
    {
        RmaConnectionStream? stream;
        lock (_gate)
            stream = _stream;
        stream?.Dispose();
    }

    /// <summary>It is disposed while something is being written: the peer must not take the part that was for the whole.</summary>
    internal void EndUnwritten() =>
        End(new ConnectionAbortedException("The connection was disposed while a write was pending."), "disposed while a write was pending", "disposed", tellsPeer: true);

    /// <summary>The peer's block is known: both directions move from here on.</summary>
    internal void Start(RemoteRegion region, int peersNumber)
    {
        _region = region;
        _end.Start();
        _control.EndSetUp();
        _reader.CreditWriter.Start(new CreditTarget(region.Slice(0, RingBlock.CreditLength), new Notice(peersNumber, NoticeKind.Credit, 0).Encode()));
        _writer.Start(new RingTarget(region, RingBlock.WordsLength, RingBlock.RingLengthOf(region.Length, isFirst: true), peersNumber));
        new ControlReader(this, _control, _end, ring => new RingTarget(_owner.Import(Peer, ring), 0, RingBlock.RingLengthOf(ring.Length, isFirst: false), peersNumber)).Start();
    }

    /// <summary>The set-up has failed before <see cref="Start"/>. The caller ends the control connection.</summary>
    /// <param name="error">Why.</param>
    /// <param name="peerKnowsBlock">The peer may write into the block.</param>
    internal void Drop(Exception error, bool peerKnowsBlock)
    {
        _end.Drop(peerKnowsBlock);
        End(error, error.Message, ConnectionTotals.TypeOf(error), tellsPeer: false);
        _writer.Complete();
        _reader.Complete();
    }

    /// <summary>The endpoint is closed. What the application still uses is given back once it has completed both directions.</summary>
    internal void OnEndpointClosed()
    {
        End(new ConnectionAbortedException("The connections were closed."), "the connections were closed", "closed", tellsPeer: false);
        _control.Dispose();
        _end.Check();
    }

    /// <summary>Ends both directions with an error; the first one counts.</summary>
    /// <param name="error">What this side's reads end by.</param>
    /// <param name="reason">Why, for the log.</param>
    /// <param name="errorType">What it is called in metrics.</param>
    /// <param name="tellsPeer">The peer does not know.</param>
    /// <param name="frame">What says it to the peer; null for an abort.</param>
    internal void End(Exception error, string reason, string errorType, bool tellsPeer, byte[]? frame = null)
    {
        if (!_end.TryEnd(error, errorType))
            return;
        ConnectionsLog.Ended(_owner.Logger, ConnectionId, reason);
        EndImports();
        _writer.Discard();
        _reader.Fail(error);
        if (tellsPeer)
            _control.Post(frame ?? ControlConnection.AbortFrame);
        _end.ReportClosed();
        _end.Check();
    }

    /// <summary>The peer has sent or written what it must not.</summary>
    internal void OnViolation(string mistake)
    {
        ConnectionsLog.ProtocolViolated(_owner.Logger, ConnectionId, mistake);
        _end.NoteViolation();
        End(new ConnectionAbortedException($"The peer violated the protocol: {mistake}."), mistake, "protocol", tellsPeer: true);
    }

    /// <summary>What has come from the peer was damaged.</summary>
    internal void OnDamaged(RmaIntegrityException damage)
    {
        if (!IsOver)
            ConnectionsLog.Damaged(_owner.Logger, ConnectionId, damage.Message);
        End(new ConnectionResetException($"The connection was ended, because it received damaged bytes. {damage.Message}", damage), damage.Message, "integrity", tellsPeer: true, SetUpMessages.Damaged(damage));
    }

    /// <summary>What has come to the peer was damaged.</summary>
    internal void OnPeerDamaged(RmaIntegrityException damage) =>
        End(new ConnectionResetException($"The connection was ended, because its peer received damaged bytes. {damage.Message}", damage), damage.Message, "peer_integrity", tellsPeer: false);

    /// <summary>What the peer has exposed can't be reached any more.</summary>
    internal void EndImports()
    {
        RemoteRegion[] imported;
        lock (_gate)
        {
            imported = [.. _imported];
            _imported.Clear();
        }
        Array.ForEach(imported, static r => r.DisposeLater());
    }

    /// <summary>Nothing more is started with the peer: its process may end without being missed.</summary>
    internal void FinishPeer() => _owner.FinishPeer(Peer);

    /// <summary>All is given back: lets go of the peer.</summary>
    internal void LetGo()
    {
        _region?.Dispose();
        _owner.Shares.Leave(_share);
        _owner.RemovePeer(Peer, _end.MayPeerGo);
    }

    /// <summary>Waits until nothing is written from here any more.</summary>
    /// <returns>False where the peer has taken nothing for as long as CloseTimeout.</returns>
    private async Task<bool> EndsInTimeAsync()
    {
        while (true)
        {
            long credit = Credit;
            try
            {
                await _end.LocalEnd.WaitAsync(_owner.Options.CloseTimeout, _owner.Time).ConfigureAwait(false);
                return true;
            }
            catch (TimeoutException) when (credit != Credit)
            {
                // It takes its time, but it takes.
            }
            catch (TimeoutException)
            {
                return _end.LocalEnd.IsCompleted;
            }
        }
    }
}
