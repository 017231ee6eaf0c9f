using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using AllocTools.Validation;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections;

/// <summary>
/// Connections over one pool: an endpoint that all of them share, with methods to connect and to listen. Create one
/// per process and pool, and dispose it before the pool.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public sealed class RmaConnections : INotificationSink, IAsyncDisposable, IDisposable
{
    private readonly RmaEndpoint _endpoint;
    private readonly TimeProvider _time;
    private readonly bool _runsInline;
    private readonly ConcurrentDictionary<int, RmaConnection> _connections = new();
    private readonly ConcurrentDictionary<RmaConnectionListener, bool> _listeners = new();
    private readonly ITimer _timer;
    private readonly Lock _gate = new();
    private readonly ConnectionNumbers _numbers = new();
    private readonly CancellationTokenSource _closing = new();
    private readonly CancellationTokenSource _endpointClosed = new();
    private readonly string _idStart = "R" + Convert.ToHexString(RandomNumberGenerator.GetBytes(4));
    private long _lastId;
    private int _hasIntruder;
    private Task _disposal = Task.CompletedTask;
    private int _disposed;

    /// <summary>Opens the endpoint.</summary>
    /// <param name="pool">The pool that provides the memory; its option Access must include RemoteWrite. It must
    /// outlive this object.</param>
    /// <param name="options">The options, which are copied; null for the defaults.</param>
    /// <param name="loggerFactory">Creates the logger; null for no log.</param>
    /// <param name="time">The clock; null for the system's clock.</param>
    /// <param name="local">
    /// Connections over another pool, such as one over shm. They carry the connections between processes of one host,
    /// if both sides have such a pool. Null for none. They must outlive this object.
    /// </param>
    /// <exception cref="OptionsValidationException">The options are invalid.</exception>
    /// <exception cref="ArgumentException">The local connections are over the same provider, or have local ones themselves.</exception>
    /// <exception cref="NotSupportedException">The provider has no writes with notifications of 4 bytes, or no
    /// endpoint that makes progress on its own.</exception>
    /// <exception cref="RmaProviderException">The endpoint can't be opened.</exception>
    public RmaConnections(IRmaMemoryPool pool, RmaConnectionOptions? options = null, ILoggerFactory? loggerFactory = null, TimeProvider? time = null, RmaConnections? local = null)
    {
        ArgumentNullException.ThrowIfNull(pool);
        Options = options?.Copy() ?? new RmaConnectionOptions();
        Options.ThrowIfInvalid();
        if (local?.Local is not null)
            throw new ArgumentException("The connections of the local pool must not have a local pool of their own, because it would never be used.", nameof(local));
        if (local?.Provider == pool.Context.Traits.ProviderName)
            throw new ArgumentException($"The local pool uses provider '{local.Provider}', like the pool itself; it must use another one, such as shm.", nameof(local));
        Pool = pool;
        Local = local;
        Logger = (loggerFactory ?? NullLoggerFactory.Instance).CreateLogger(ConnectionsLog.Category);
        _time = time ?? TimeProvider.System;
        Regions.RmaProviderTraits traits = pool.Context.Traits;
        if (traits.NotificationSize < sizeof(uint) || !traits.RemoteAccess)
        {
            throw new NotSupportedException(
                $"The provider '{traits.ProviderName}' can't carry connections. They need writes to the peer's memory with a notification of 4 bytes that arrives after the data; the provider has "
                + $"{(traits.RemoteAccess ? $"no such writes (the traits' NotificationSize is {traits.NotificationSize})" : "no access to peers' memory")}. Use another provider.");
        }
        IRmaEndpoint opened = pool.Context.OpenEndpoint();
        if (opened is not RmaEndpoint { HasOwnThread: true } endpoint)
        {
            opened.Dispose();
            throw new NotSupportedException($"Connections need an endpoint that makes progress by itself; set the option Provider:Endpoint:Progress of provider '{traits.ProviderName}' to {nameof(RmaProgress.Endpoint)}.");
        }
        _endpoint = endpoint;
        Shares = new OperationShares(endpoint, _time);
        Terms = new ProcessTerms(Guid.NewGuid(), LocalHost.Id, Environment.ProcessId, Options.HeartbeatInterval, Options.PeerTimeout, endpoint.OperationTimeout, traits.DeliveryComplete, Options.Integrity);
        // It is known only after the listener's answer which of the two carries a connection, so the terms must hold
        // for both.
        if (local is not null)
            Terms = Terms.Or(local.Terms);
        _runsInline = Options.Continuations == RmaContinuations.Inline;
        if (_runsInline)
            _endpoint.RunInline();
        _endpoint.TakeNotifications(this);
        RingShare = new RingShare(pool.GetStatistics().LimitBytes / 2);
        _timer = _time.CreateTimer(static connections => ((RmaConnections)connections!).Watch(), this, Options.HeartbeatInterval, Options.HeartbeatInterval);
    }

    /// <summary>Gets the random number by which peers identify this process.</summary>
    public Guid Process => Terms.Process;

    /// <summary>Gets the number of connections that still have resources: open ones, and those that are ending.</summary>
    public int Count => _connections.Count;

    /// <summary>The properties of this process that peers receive.</summary>
    internal ProcessTerms Terms { get; }

    /// <summary>How the endpoint's operations are shared among the peers.</summary>
    internal OperationShares Shares { get; }

    /// <summary>Cancelled when this object is disposed, which ends set-ups.</summary>
    internal CancellationToken Closing => _closing.Token;

    /// <summary>
    /// Cancelled once the endpoint is closed, including a transport that was stuck. Memory that is kept for late writes
    /// is then released, because no more writes can arrive.
    /// </summary>
    internal CancellationToken EndpointClosed => _endpointClosed.Token;

    internal IRmaMemoryPool Pool { get; }

    /// <summary>The connections that carry those between processes of this host; null if there are none.</summary>
    internal RmaConnections? Local { get; }

    /// <summary>The transports that peers may choose from, with the endpoint's address on each.</summary>
    internal (string Name, ReadOnlyMemory<byte> Address)[] Transports =>
        Local is { } local && LocalHost.Id != Guid.Empty ? [(Provider, Address), (local.Provider, local.Address)] : [(Provider, Address)];

    /// <summary>Returns the connections over a transport that this side has offered; null if it has not offered it.</summary>
    internal RmaConnections? Find(string transport) => transport == Provider ? this : transport == Local?.Provider && LocalHost.Id != Guid.Empty ? Local : null;

    /// <summary>Chooses the connections that serve a peer: the local ones, if both sides have them and are on one host.</summary>
    internal RmaConnections? Pick(ProcessTerms peer, Func<string, bool> isOffered)
    {
        if (Local is { } local && peer.Host != Guid.Empty && peer.Host == LocalHost.Id && isOffered(local.Provider))
            return local;
        return isOffered(Provider) ? this : null;
    }

    /// <summary>Limits the memory of rings that have grown.</summary>
    internal RingShare RingShare { get; }

    /// <summary>Limits the idle staging memory.</summary>
    internal StagingShare StagingShare { get; } = new();

    /// <summary>The totals of all connections.</summary>
    internal ConnectionTotals Totals { get; } = new();

    /// <summary>
    /// Gets the endpoint that all connections share. It can also be used to read and write peers' memory beside the
    /// streams (<see cref="RmaConnection.Import"/>). Its notifications are reserved for the connections, which also
    /// close it: don't dispose it.
    /// </summary>
    public IRmaEndpoint Endpoint => _endpoint;

    /// <summary>The number of listeners that can't accept connections at present.</summary>
    internal int ListenersInTrouble => _listeners.Keys.Count(static l => l.IsInTrouble);

    internal RmaConnectionOptions Options { get; }

    internal ILogger Logger { get; }

    internal TimeProvider Time => _time;

    internal string Provider => Pool.Context.Traits.ProviderName;

    internal ReadOnlyMemory<byte> Address => _endpoint.Address;

    /// <summary>Returns the number of connections, and what they have done so far.</summary>
    public RmaConnectionStatistics GetStatistics() => Totals.Snapshot();

    /// <summary>Connects to a listener.</summary>
    /// <param name="endPoint">Its end point: an <see cref="IPEndPoint"/> or a <see cref="DnsEndPoint"/>.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="ArgumentException">The end point has another type.</exception>
    /// <exception cref="System.Net.Sockets.SocketException">Nothing listens there, or it can't be reached.</exception>
    /// <exception cref="ObjectDisposedException">The connections are closed, or were closed meanwhile.</exception>
    /// <exception cref="RmaConnectionException">The listener has refused the connection, does not use AllocTools, or
    /// did not answer in time.</exception>
    /// <exception cref="RmaException">The pool has no room, or the transport of the listener is not
    /// compatible.</exception>
    public ValueTask<RmaConnection> ConnectAsync(EndPoint endPoint, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(endPoint);
        if (endPoint is not (IPEndPoint or DnsEndPoint))
            throw new ArgumentException($"The end point is a {endPoint.GetType()}; for connections over registered memory it must be an {nameof(IPEndPoint)} or a {nameof(DnsEndPoint)}.", nameof(endPoint));
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return SetUp.ConnectAsync(this, endPoint, cancellationToken);
    }

    /// <summary>Listens for connections.</summary>
    /// <param name="endPoint">The address and port; port 0 lets the system choose one.</param>
    /// <exception cref="AddressInUseException">Something else listens there.</exception>
    public RmaConnectionListener Listen(IPEndPoint endPoint)
    {
        ArgumentNullException.ThrowIfNull(endPoint);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        var listener = new RmaConnectionListener(this, endPoint);
        lock (_gate)
        {
            if (_disposed == 0)
            {
                _listeners[listener] = true;
                return listener;
            }
        }
        // This object was disposed meanwhile.
        _ = listener.DisposeAsync().AsTask();
        throw new ObjectDisposedException(nameof(RmaConnections));
    }

    /// <summary>
    /// Closes listeners, aborts the remaining connections, waits up to <see cref="RmaConnectionOptions.CloseTimeout"/>
    /// for their memory to be released, and closes the endpoint. If a connection is still read through its pipe at
    /// that time, its memory is released when its user disposes it. It never throws.
    /// </summary>
    public ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (_disposed == 0)
            {
                Volatile.Write(ref _disposed, 1);
                // This must run neither under this lock nor in the caller's context.
                _disposal = Task.Run(CloseAsync);
            }
            return new ValueTask(_disposal);
        }
    }

    /// <summary>Does the same as <see cref="DisposeAsync"/>, and blocks until that is done.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    private async Task CloseAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(_listeners.Keys.Select(static l => l.DisposeAsync().AsTask())).ConfigureAwait(false);
        foreach (RmaConnection connection in _connections.Values)
        {
            if (!connection.IsDisposing)
                connection.Abort(new ConnectionAbortedException("The connections were closed."));
            connection.CloseStream();
        }
        Task ends = Task.WhenAll(_connections.Values.Select(static c => c.WholeEnd));
        await ends.WaitAsync(Options.CloseTimeout, _time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _timer.DisposeAsync().ConfigureAwait(false);
        await _endpoint.DisposeAsync().ConfigureAwait(false);
        Shares.Dispose();
        if (_endpoint.Closed.IsCompleted)
            await _endpointClosed.CancelAsync().ConfigureAwait(false);
        else
            _ = NoteClosedLaterAsync();
        RmaConnection[] left = [.. _connections.Values];
        Array.ForEach(left, static c => c.OnEndpointClosed());
        // Connections that their users have not completed are not waited for.
        ends = Task.WhenAll(left.Where(static c => c.IsCompleted).Select(static c => c.WholeEnd));
        await ends.WaitAsync(Options.CloseTimeout, _time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>Called when the transport is stuck: peers may write until it is actually closed.</summary>
    private async Task NoteClosedLaterAsync()
    {
        await _endpoint.Closed.ConfigureAwait(false);
        await _endpointClosed.CancelAsync().ConfigureAwait(false);
        foreach (RmaConnection connection in _connections.Values)
            connection.OnEndpointClosed();
    }

    void INotificationSink.OnNotification(ulong value, RmaPeer? sender)
    {
        Notice notice = Notice.Decode(value);
        // The last notifications of a connection may be found after everything else of it has ended. Their bytes
        // arrived before.
        if (!_connections.TryGetValue(notice.Connection, out RmaConnection? connection))
            return;
        if (sender is { } known && known.Entry != connection.Peer.Entry)
        {
            if (Interlocked.Exchange(ref _hasIntruder, 1) == 0)
                ConnectionsLog.ForeignConnection(Logger);
            return;
        }
        connection.OnNotification(notice);
    }

    void INotificationSink.OnFailed(RmaException failure)
    {
        ConnectionsLog.EndpointFailed(Logger, Provider, failure);
        foreach (RmaConnection connection in _connections.Values)
            connection.End(new ConnectionAbortedException(failure.Message, failure), "the endpoint has failed", RmaTags.ErrorTypeOf(failure), tellsPeer: true);
    }

    /// <summary>Creates a connection; the peer may write to it from now on.</summary>
    internal RmaConnection Add(ControlConnection control, RmaPeer peer, ProcessTerms terms, RmaIntegrity integrity)
    {
        long? start = ConnectionEnd.StartOf(terms);
        var block = new RingBlock(Pool, (int)Options.InitialRingBytes);
        try
        {
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_disposed != 0, this);
                if (_connections.Count >= Options.MaxConnections)
                    throw new RmaConnectionException($"One side has reached its limit of connections ({InWords.Number(Options.MaxConnections)}, MaxConnections), which includes those that are ending.") { ErrorType = "too_many" };
                int number = _numbers.Next(_connections.ContainsKey);
                var connection = new RmaConnection(this, control, block, number, peer, terms, integrity, start);
                _connections[number] = connection;
                Totals.Add(connection);
                return connection;
            }
        }
        catch
        {
            block.Dispose();
            throw;
        }
    }

    /// <summary>Creates a name for a connection in logs, which differs from those of other connections and of other runs.</summary>
    internal string NewConnectionId() => string.Create(CultureInfo.InvariantCulture, $"{_idStart}{Interlocked.Increment(ref _lastId):X}");

    internal RmaPeer InsertPeer(ReadOnlySpan<byte> address) => _endpoint.InsertPeer(address);

    /// <summary>Declares that one connection to the peer starts no more operations.</summary>
    internal void FinishPeer(RmaPeer peer) => _endpoint.FinishPeer(peer);

    internal void RemovePeer(RmaPeer peer, bool isFinished = false)
    {
        try
        {
            _endpoint.RemovePeer(peer, isFinished);
        }
        catch (ObjectDisposedException)
        {
            // The peer was removed with the endpoint.
        }
    }

    internal RemoteRegion Import(RmaPeer peer, RemoteMemory memory) => _endpoint.Import(peer, memory);

    internal void Schedule(IThreadPoolWorkItem item)
    {
        if (_runsInline)
            InlineContinuation.Schedule(item);
        else
            ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false);
    }

    internal void Forget(RmaConnectionListener listener) => _listeners.TryRemove(listener, out _);

    /// <summary>Called when nothing of a connection is used any more, and no more writes can arrive for it.</summary>
    internal void Remove(RmaConnection connection)
    {
        _connections.TryRemove(connection.Number, out _);
        Totals.Remove(connection);
        connection.LetGo();
    }

    private void Watch()
    {
        foreach ((_, RmaConnection connection) in _connections)
            connection.Watch();
    }
}
