using System.Collections.Concurrent;
using System.Net;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Diagnostics;
using AllocTools.Endpoints.Engine;
using AllocTools.Interop;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections;

/// <summary>
/// Connections over one pool: an endpoint that all of them share, with the means to connect and to listen. One for a process and pool;
/// dispose it before the pool.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public sealed class RmaConnections : INotificationSink, IAsyncDisposable
{
    /// <summary>Bytes of a piece of staging memory: the size class that bulk needs, and what a processor's cache holds easily.</summary>
    internal const int StagingBytes = 64 << 10;

    private readonly RmaEndpoint _endpoint;
    private readonly TimeProvider _time;
    private readonly bool _runsInline;
    private readonly ConcurrentDictionary<int, RmaConnection> _connections = new();
    private readonly ConcurrentQueue<RmaConnection> _waiting = new();
    private readonly ConcurrentDictionary<RmaConnectionListener, bool> _listeners = new();
    private readonly ITimer _timer;
    private readonly Lock _numbers = new();
    private int _lastNumber;
    private int _running;
    private int _hasIntruder;
    private int _disposed;

    /// <summary>Opens the endpoint.</summary>
    /// <param name="pool">Where the memory comes from; its option Access must include RemoteWrite. It must outlive this object.</param>
    /// <param name="options">The options; null for the defaults. Read here.</param>
    /// <param name="loggerFactory">Takes the log; null for none.</param>
    /// <param name="time">The clock; null for the system's.</param>
    /// <exception cref="OptionsValidationException">The options are invalid.</exception>
    /// <exception cref="NotSupportedException">The provider has no writes with notifications of 4 bytes, or no endpoint that moves by itself.</exception>
    /// <exception cref="RmaProviderException">The endpoint can't be opened.</exception>
    public RmaConnections(IRmaMemoryPool pool, RmaConnectionOptions? options = null, ILoggerFactory? loggerFactory = null, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(pool);
        Options = options?.Copy() ?? new RmaConnectionOptions();
        Options.ThrowIfInvalid();
        Pool = pool;
        Logger = (loggerFactory ?? NullLoggerFactory.Instance).CreateLogger(ConnectionsLog.Category);
        _time = time ?? TimeProvider.System;
        Regions.RmaProviderTraits traits = pool.Context.Traits;
        if (traits.NotificationSize < sizeof(uint) || !traits.RemoteAccess)
            throw new NotSupportedException($"The provider '{traits.ProviderName}' has no writes that bring a number of 4 bytes (the traits' NotificationSize is {traits.NotificationSize}), which connections need.");
        IRmaEndpoint opened = pool.Context.OpenEndpoint();
        if (opened is not RmaEndpoint { HasOwnThread: true } endpoint)
        {
            opened.Dispose();
            throw new NotSupportedException($"Connections need an endpoint that makes progress by itself; set the option Provider:Endpoint:Progress of provider '{traits.ProviderName}' to {nameof(RmaProgress.Endpoint)}.");
        }
        _endpoint = endpoint;
        _runsInline = Options.Continuations == RmaContinuations.Inline;
        if (_runsInline)
            _endpoint.RunInline();
        _endpoint.TakeNotifications(this);
        _timer = _time.CreateTimer(static connections => ((RmaConnections)connections!).Watch(), this, Options.HeartbeatInterval, Options.HeartbeatInterval);
    }

    /// <summary>A random number of this process, which peers know it by.</summary>
    public Guid Process { get; } = Guid.NewGuid();

    /// <summary>How many connections have something left: open ones, and those whose end is under way.</summary>
    public int Count => _connections.Count;

    internal IRmaMemoryPool Pool { get; }

    /// <summary>What the connections have done.</summary>
    internal ConnectionTotals Totals { get; } = new();

    /// <summary>
    /// The endpoint that all share, also for reads and writes of peers' memory beside the streams (<see cref="RmaConnection.Import"/>). The notifications that come
    /// are the connections' own, and so is its end: don't dispose it.
    /// </summary>
    public IRmaEndpoint Endpoint => _endpoint;

    internal RmaConnectionOptions Options { get; }

    internal ILogger Logger { get; }

    internal TimeProvider Time => _time;

    internal string Provider => Pool.Context.Traits.ProviderName;

    internal ReadOnlyMemory<byte> Address => _endpoint.Address;

    /// <summary>What the connections have done so far, and how many there are.</summary>
    public RmaConnectionStatistics GetStatistics() => Totals.Snapshot();

    /// <summary>Connects to a listener.</summary>
    /// <param name="endPoint">Its end point: an <see cref="IPEndPoint"/> or a <see cref="DnsEndPoint"/>.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="System.Net.Sockets.SocketException">Nothing listens there, or it can't be reached.</exception>
    /// <exception cref="RmaConnectionException">The listener has refused, or is none of AllocTools, or did not answer in time.</exception>
    /// <exception cref="RmaException">The pool has no room, or the listener's transport does not fit.</exception>
    public ValueTask<RmaConnection> ConnectAsync(EndPoint endPoint, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(endPoint);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return SetUp.ConnectAsync(this, endPoint, cancellationToken);
    }

    /// <summary>Listens for connections.</summary>
    /// <param name="endPoint">Where; port 0 lets the system pick one.</param>
    /// <exception cref="AddressInUseException">Something else listens there.</exception>
    public RmaConnectionListener Listen(IPEndPoint endPoint)
    {
        ArgumentNullException.ThrowIfNull(endPoint);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        var listener = new RmaConnectionListener(this, endPoint);
        _listeners[listener] = true;
        return listener;
    }

    /// <summary>Ends listeners, aborts the connections that are left, waits for a moment until their memory is back, and closes the endpoint. Never throws.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        foreach (RmaConnectionListener listener in _listeners.Keys)
            await listener.DisposeAsync().ConfigureAwait(false);
        foreach (RmaConnection connection in _connections.Values)
        {
            if (connection.IsDisposing)
                continue;
            connection.Abort(new ConnectionAbortedException("The connections were closed."));
            _ = connection.DisposeAsync().AsTask();
        }
        Task ends = Task.WhenAll(_connections.Values.Select(static c => c.WholeEnd));
        await Task.WhenAny(ends, Task.Delay(Options.CloseTimeout)).ConfigureAwait(false);
        await _timer.DisposeAsync().ConfigureAwait(false);
        await _endpoint.DisposeAsync().ConfigureAwait(false);
        // Nothing reaches this process's memory by that endpoint any more.
        foreach (RmaConnection connection in _connections.Values)
            connection.ForceRelease();
    }

    void INotificationSink.OnNotification(ulong value, RmaPeer? sender)
    {
        Notice notice = Notice.Decode(value);
        // The last ones of a connection may be found when all else of it has ended: their bytes were there before.
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

    /// <summary>Makes a connection that the peer may write to from here on.</summary>
    internal RmaConnection Add(ControlConnection control, RmaPeer peer)
    {
        var block = new RingBlock(Pool, (int)Options.InitialRingBytes, isFirst: true);
        try
        {
            lock (_numbers)
            {
                do
                    _lastNumber = (_lastNumber + 1) & Notice.MostConnections;
                while (_connections.ContainsKey(_lastNumber));
                var connection = new RmaConnection(this, control, block, _lastNumber, peer);
                _connections[_lastNumber] = connection;
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

    internal RmaPeer InsertPeer(ReadOnlySpan<byte> address) => _endpoint.InsertPeer(address);

    internal void RemovePeer(RmaPeer peer)
    {
        try
        {
            _endpoint.RemovePeer(peer);
        }
        catch (ObjectDisposedException)
        {
            // With the endpoint.
        }
    }

    internal RemoteRegion Import(RmaPeer peer, RemoteMemory memory) => _endpoint.Import(peer, memory);

    internal bool TryStart(in RmaOperation operation, IOperationOwner owner)
    {
        Interlocked.Increment(ref _running);
        bool isStarted = false;
        try
        {
            return isStarted = _endpoint.TryStart(operation, owner);
        }
        finally
        {
            if (!isStarted)
                Interlocked.Decrement(ref _running);
        }
    }

    /// <summary>An operation could not be started, and is ended as if it had been.</summary>
    internal void NoteRefused() => Interlocked.Increment(ref _running);

    /// <summary>An operation has ended: one that found no place may find it now.</summary>
    internal void OnOperationEnded()
    {
        Interlocked.Decrement(ref _running);
        Fence.AfterInterlocked();
        Serve();
    }

    internal void RetryLater(RmaConnection connection)
    {
        _waiting.Enqueue(connection);
        Fence.Full();
        // What has ended meanwhile has not seen it.
        if (Volatile.Read(ref _running) == 0)
            ThreadPool.UnsafeQueueUserWorkItem(static c => c.Serve(), this, preferLocal: false);
    }

    /// <summary>Has one try again that found no place; and the next one where nothing runs whose end would see to it.</summary>
    private void Serve()
    {
        while (_waiting.TryDequeue(out RmaConnection? waiting))
        {
            waiting.Retry();
            if (Volatile.Read(ref _running) != 0)
                return;
        }
    }

    internal void Schedule(IThreadPoolWorkItem item)
    {
        if (_runsInline)
            InlineContinuation.Schedule(item);
        else
            ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false);
    }

    internal void Forget(RmaConnectionListener listener) => _listeners.TryRemove(listener, out _);

    /// <summary>Nothing of a connection is used any more here; its memory is given back as soon as its peer can't write into it.</summary>
    internal void Release(RmaConnection connection, RingBlock[] rings, RemoteRegion? region, bool isGraceful)
    {
        region?.Dispose();
        RemovePeer(connection.Peer);
        if (isGraceful && Pool.Context.Traits.DeliveryComplete)
        {
            End(connection, rings);
            return;
        }
        Array.ForEach(rings, static r => r.Quarantine());
        _ = EndLaterAsync(connection, rings);
    }

    private async Task EndLaterAsync(RmaConnection connection, RingBlock[] rings)
    {
        await Task.Delay(Options.LateWrites, _time).ConfigureAwait(false);
        End(connection, rings);
    }

    internal void End(RmaConnection connection, RingBlock[] rings)
    {
        Array.ForEach(rings, static r => r.Dispose());
        _connections.TryRemove(connection.Number, out _);
        Totals.Remove(connection);
        connection.OnReleased();
    }

    private void Watch()
    {
        foreach ((_, RmaConnection connection) in _connections)
            connection.Watch();
    }
}
