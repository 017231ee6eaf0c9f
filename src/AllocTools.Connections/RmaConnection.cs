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
/// A bidirectional byte stream over registered memory, which Kestrel and clients use like a socket's connection.
/// <see cref="RmaConnections"/>, a listener or a factory creates it; dispose it when it is no longer used.
/// </summary>
/// <remarks>
/// As with any pipe, only one caller may read and one may write at a time. <see cref="PipeWriter.Complete"/> of
/// <see cref="Transport"/>'s output ends one direction (half-close); <see cref="DisposeAsync"/> ends both, once the
/// peer has read what was written. The bytes that a read returned are valid until
/// <see cref="PipeReader.AdvanceTo(SequencePosition)"/>, <see cref="PipeReader.Complete"/> or
/// <see cref="DisposeAsync"/>, even if the connection ends meanwhile.
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

    /// <summary>Gets or sets the pipe with both directions.</summary>
    public override IDuplexPipe Transport { get; set; }

    /// <summary>
    /// Gets or sets a token that is cancelled when the peer's stream has ended or the connection has ended, at the
    /// latest when <see cref="DisposeAsync"/> returns.
    /// </summary>
    public override CancellationToken ConnectionClosed { get; set; }

    /// <summary>Gets or sets the end point of this side of the control connection.</summary>
    public override EndPoint? LocalEndPoint { get; set; }

    /// <summary>Gets or sets the end point of the peer's side of the control connection.</summary>
    public override EndPoint? RemoteEndPoint { get; set; }

    /// <summary>Gets the reader of what the peer writes.</summary>
    public PipeReader Input => _reader;

    /// <summary>Gets the writer of what the peer reads.</summary>
    public PipeWriter Output => _writer;

    /// <summary>
    /// Gets the certificate with which the peer has authenticated itself, if the control connection uses TLS: the
    /// listener's, or the connecting side's if <see cref="RmaConnectionOptions.ServerAuthentication"/> requests one.
    /// It is null without TLS, or if the peer has not presented one. It has passed the checks of these options, and
    /// remains valid after the connection has ended.
    /// </summary>
    public X509Certificate2? RemoteCertificate { get; internal set; }

    /// <summary>Gets the random number of the peer's process.</summary>
    public Guid PeerProcess => _terms.Process;

    /// <summary>
    /// Gets the check value for everything that goes through the connection: the stronger one of those that both sides
    /// have set (<see cref="RmaConnectionOptions.Integrity"/>).
    /// </summary>
    public RmaIntegrity Integrity => _form.Integrity;

    /// <summary>Gets the name of the transport that carries the connection, such as <c>tcp;ofi_rxm</c> or <c>shm</c>.</summary>
    public string Provider => _owner.Provider;

    /// <summary>
    /// Gets the endpoint that carries the connection. It belongs to the <see cref="RmaConnections"/> that created the
    /// connection, or to those over their local pool. Use it to read and write memory that <see cref="Import"/>
    /// returned. Its notifications are reserved for the connections; don't dispose it.
    /// </summary>
    public IRmaEndpoint Endpoint => _owner.Endpoint;

    /// <summary>Gets the pool whose memory that endpoint reads and writes, and can expose to the peer. Don't dispose it.</summary>
    public IRmaMemoryPool Pool => _owner.Pool;

    /// <summary>How many imported regions are tracked, including those that their user has disposed.</summary>
    internal int ImportedCount
    {
        get
        {
            lock (_gate)
                return _imported.Count;
        }
    }

    RmaConnection IRmaConnectionFeature.Connection => this;

    /// <summary>The share of the endpoint's operations that all connections to the peer's endpoint have together.</summary>
    internal OperationShares.PeerShare Share => _share;

    /// <summary>The bytes of the peer's ring that the peer has freed since the start.</summary>
    internal long Credit => Volatile.Read(ref _credit);

    /// <summary>This side's number of the connection.</summary>
    internal int Number { get; }

    internal RmaPeer Peer { get; }

    /// <summary>Whether the set-up is complete.</summary>
    internal bool IsStarted => Volatile.Read(ref _region) is not null;

    /// <summary>Whether it is being disposed, so that it ends on its own or is aborted in time.</summary>
    internal bool IsDisposing => Volatile.Read(ref _disposed) != 0;

    /// <summary>Whether its user has completed both directions.</summary>
    internal bool IsCompleted => _reader.IsCompleted && _writer.IsCompleted;

    /// <summary>The description of the memory to which the peer writes.</summary>
    internal RemoteMemory Block => _block.Remote;

    internal RingReader Reader => _reader;

    internal RingWriter Writer => _writer;

    /// <summary>Completes when all resources of the connection are released.</summary>
    internal Task WholeEnd => _end.WholeEnd;

    /// <inheritdoc cref="ConnectionEnd.Error"/>
    internal Exception? Error => _end.Error;

    /// <inheritdoc cref="ConnectionEnd.ErrorType"/>
    internal string? ErrorType => _end.ErrorType;

    /// <inheritdoc cref="ConnectionEnd.IsOver"/>
    internal bool IsOver => _end.IsOver;

    /// <summary>Aborts the connection: both directions end with an error. It never throws; the peer is notified, and gets an error, too.</summary>
    /// <param name="abortReason">The error with which this side's reads end.</param>
    public override void Abort(ConnectionAbortedException abortReason) => End(abortReason ?? new ConnectionAbortedException("The connection was aborted by this side."), "aborted by this side", "aborted", tellsPeer: true);

    /// <inheritdoc cref="Abort(ConnectionAbortedException)"/>
    public override void Abort() => Abort(null!);

    /// <summary>
    /// Returns a stream over both directions. Disposing it disposes the connection; <see cref="Stream.Dispose()"/> does
    /// not wait for that.
    /// </summary>
    /// <remarks>Each call returns the same stream.</remarks>
    public Stream AsStream()
    {
        lock (_gate)
            return _stream ??= new RmaConnectionStream(this);
    }

    /// <summary>
    /// Imports memory that the peer has exposed and described over this connection, so that <see cref="Endpoint"/> can
    /// read and write it with memory of <see cref="Pool"/>. The peer must have exposed it on its connection's
    /// <see cref="Pool"/>. The region is bound to the peer's process: it can't be used after this connection has
    /// ended, so nothing is written to memory of a process that has died.
    /// </summary>
    /// <param name="memory">The description that the peer's exposure returned.</param>
    /// <exception cref="RmaProviderException">The memory belongs to a different process than the peer's, or to a
    /// different transport than the connection's.</exception>
    /// <exception cref="ObjectDisposedException">The connection has ended.</exception>
    public RemoteRegion Import(RemoteMemory memory)
    {
        RemoteRegion region = _owner.Import(Peer, memory);
        lock (_gate)
        {
            if (!IsOver)
            {
                // Regions that their user has disposed don't need to be tracked.
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
    /// Ends the connection. What was written still reaches the peer: this waits as long as the peer reads some of it
    /// within each <see cref="RmaConnectionOptions.CloseTimeout"/>, and then aborts the connection. A pending read
    /// fails; if a flush is pending, the connection is aborted immediately. It never throws.
    /// </summary>
    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            // Nobody would write the rest.
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

    /// <summary>
    /// Disposes the stream, if there is one. Its user holds memory of the connection only during a call, so closing
    /// need not wait for the user to dispose it: HttpClient keeps idle connections.
    /// </summary>
    internal void CloseStream()
    {
        RmaConnectionStream? stream;
        lock (_gate)
            stream = _stream;
        stream?.Dispose();
    }

    /// <summary>Called when it is disposed during a write: the peer must not mistake the written part for the whole.</summary>
    internal void EndUnwritten() =>
        End(new ConnectionAbortedException("The connection was disposed while a write was pending."), "disposed while a write was pending", "disposed", tellsPeer: true);

    /// <summary>Called when the peer's block is known: starts both directions.</summary>
    internal void Start(RemoteRegion region, int peersNumber)
    {
        _region = region;
        _end.Start();
        _control.EndSetUp();
        _reader.CreditWriter.Start(new CreditTarget(region.Slice(0, RingBlock.CreditLength), new Notice(peersNumber, NoticeKind.Credit, 0).Encode()));
        _writer.Start(new RingTarget(region, RingBlock.WordsLength, RingBlock.RingLengthOf(region.Length, isFirst: true), peersNumber));
        new ControlReader(this, _control, _end, ring => new RingTarget(_owner.Import(Peer, ring), 0, RingBlock.RingLengthOf(ring.Length, isFirst: false), peersNumber)).Start();
    }

    /// <summary>Called when the set-up has failed before <see cref="Start"/>. The caller ends the control connection.</summary>
    /// <param name="error">The reason.</param>
    /// <param name="peerKnowsBlock">Whether the peer may write into the block.</param>
    internal void Drop(Exception error, bool peerKnowsBlock)
    {
        _end.Drop(peerKnowsBlock);
        End(error, error.Message, ConnectionTotals.TypeOf(error), tellsPeer: false);
        _writer.Complete();
        _reader.Complete();
    }

    /// <summary>Called when the endpoint is closed. Memory that the application still uses is released once it has completed both directions.</summary>
    internal void OnEndpointClosed()
    {
        End(new ConnectionAbortedException("The connections were closed."), "the connections were closed", "closed", tellsPeer: false);
        _control.Dispose();
        _end.Check();
    }

    /// <summary>Ends both directions with an error; the first one counts.</summary>
    /// <param name="error">The error with which this side's reads end.</param>
    /// <param name="reason">The reason, for the log.</param>
    /// <param name="errorType">The name of the error in metrics.</param>
    /// <param name="tellsPeer">Whether the peer must be notified.</param>
    /// <param name="frame">The frame that notifies the peer; null for an abort.</param>
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

    /// <summary>Called when the peer has violated the protocol.</summary>
    internal void OnViolation(string mistake)
    {
        ConnectionsLog.ProtocolViolated(_owner.Logger, ConnectionId, mistake);
        _end.NoteViolation();
        End(new ConnectionAbortedException($"The peer violated the protocol: {mistake}."), mistake, "protocol", tellsPeer: true);
    }

    /// <summary>Called when damaged bytes have arrived from the peer.</summary>
    internal void OnDamaged(RmaIntegrityException damage)
    {
        if (!IsOver)
            ConnectionsLog.Damaged(_owner.Logger, ConnectionId, damage.Message);
        End(new ConnectionResetException($"The connection was ended, because it received damaged bytes. {damage.Message}", damage), damage.Message, "integrity", tellsPeer: true, SetUpMessages.Damaged(damage));
    }

    /// <summary>Called when the peer reports that damaged bytes have arrived from this side.</summary>
    internal void OnPeerDamaged(RmaIntegrityException damage) =>
        End(new ConnectionResetException($"The connection was ended, because its peer received damaged bytes. {damage.Message}", damage), damage.Message, "peer_integrity", tellsPeer: false);

    /// <summary>Releases the imported regions, because the peer's memory can't be reached any more.</summary>
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

    /// <summary>Declares that no more operations are started with the peer, so that the end of its process is not reported as an error.</summary>
    internal void FinishPeer() => _owner.FinishPeer(Peer);

    /// <summary>Called when everything else is released: removes the peer.</summary>
    internal void LetGo()
    {
        _region?.Dispose();
        _owner.Shares.Leave(_share);
        _owner.RemovePeer(Peer, _end.MayPeerGo);
    }

    /// <summary>Waits until this side writes no more.</summary>
    /// <returns>False if the peer has read nothing within CloseTimeout.</returns>
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
                // The peer is slow, but it keeps reading.
            }
            catch (TimeoutException)
            {
                return _end.LocalEnd.IsCompleted;
            }
        }
    }
}
