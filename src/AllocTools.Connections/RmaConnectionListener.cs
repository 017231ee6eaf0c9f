using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using AllocTools.Connections.Control;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>Listens for connections; <see cref="RmaConnections.Listen"/> creates it.</summary>
/// <remarks>
/// Set-ups run in parallel. <see cref="RmaConnectionOptions.Backlog"/> limits how many connections may be in set-up or
/// wait to be accepted. If all places are taken and another peer waits, the oldest set-up is abandoned once it takes
/// longer than a second (or a tenth of <see cref="RmaConnectionOptions.SetUpTimeout"/>), so that silent peers don't
/// block others for long.
/// </remarks>
public sealed class RmaConnectionListener : IConnectionListener
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>How long a set-up may take although others wait for its place. Normally, it takes milliseconds.</summary>
    private static readonly TimeSpan MostPatience = TimeSpan.FromSeconds(1);

    private readonly RmaConnections _owner;
    private readonly Socket _socket;
    private readonly Channel<RmaConnection> _accepted = Channel.CreateUnbounded<RmaConnection>();
    private readonly SemaphoreSlim _places;
    private readonly CancellationTokenSource _stopping = new();
    private readonly LinkedList<Newcomer> _newcomers = new();
    private readonly TimeSpan _patience;
    private readonly SetUpFailures _failures;
    private readonly Task _accepting;
    private int _unbound;
    private bool _isInTrouble;

    internal RmaConnectionListener(RmaConnections owner, IPEndPoint endPoint)
    {
        _owner = owner;
        _failures = new SetUpFailures(owner.Logger, owner.Time);
        _places = new SemaphoreSlim(owner.Options.Backlog);
        _patience = owner.Options.SetUpTimeout / 10 < MostPatience ? owner.Options.SetUpTimeout / 10 : MostPatience;
        _socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (endPoint.AddressFamily == AddressFamily.InterNetworkV6 && endPoint.Address.Equals(IPAddress.IPv6Any))
                _socket.DualMode = true;
            _socket.Bind(new IPEndPoint(endPoint.Address, endPoint.Port));
            _socket.Listen(owner.Options.Backlog);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            _socket.Dispose();
            throw new AddressInUseException(e.Message, e);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
        var bound = (IPEndPoint)_socket.LocalEndPoint!;
        EndPoint = endPoint is RmaEndPoint { PoolName: { } poolName } ? new RmaEndPoint(bound, poolName) : new RmaEndPoint(bound);
        ConnectionsLog.Listening(owner.Logger, owner.Provider, Port);
        _accepting = Task.Run(RunAsync);
    }

    /// <summary>Gets the end point on which it listens, with the port that the system has chosen.</summary>
    public EndPoint EndPoint { get; }

    /// <summary>Whether the system has refused the last attempt to accept a connection.</summary>
    internal bool IsInTrouble => Volatile.Read(ref _isInTrouble);

    private int Port => ((IPEndPoint)EndPoint).Port;

    /// <summary>Accepts the next connection.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>A <see cref="RmaConnection"/>; null once the listener is unbound and no connection is left.</returns>
    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (await _accepted.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (!_accepted.Reader.TryRead(out RmaConnection? connection))
                continue;
            _places.Release();
            return connection;
        }
        return null;
    }

    /// <summary>Stops listening. Connections that were set up before can still be accepted.</summary>
    /// <param name="cancellationToken">Ends the wait for the listener to stop; it stops nevertheless.</param>
    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _unbound, 1) == 0)
        {
            await _stopping.CancelAsync().ConfigureAwait(false);
            _socket.Dispose();
        }
        await _accepting.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Stops listening, and aborts connections that were not accepted.</summary>
    public async ValueTask DisposeAsync()
    {
        await UnbindAsync().ConfigureAwait(false);
        List<Task> ends = [];
        while (_accepted.Reader.TryRead(out RmaConnection? connection))
            ends.Add(DropAsync(connection));
        await Task.WhenAll(ends).ConfigureAwait(false);
        _owner.Forget(this);
    }

    private async Task RunAsync()
    {
        try
        {
            while (!_stopping.IsCancellationRequested)
                await AcceptOneAsync().ConfigureAwait(false);
        }
        catch (Exception) when (_stopping.IsCancellationRequested)
        {
            // The listener was unbound.
        }
        finally
        {
            // Nothing more can be accepted, whatever the reason.
            _accepted.Writer.TryComplete();
        }
    }

    private async Task AcceptOneAsync()
    {
        Socket? socket = null;
        try
        {
            socket = await _socket.AcceptAsync(_stopping.Token).ConfigureAwait(false);
            await TakePlaceAsync().ConfigureAwait(false);
            Volatile.Write(ref _isInTrouble, false);
            _ = SetUpAsync(socket);
        }
        catch (Exception) when (_stopping.IsCancellationRequested)
        {
            socket?.Dispose();
        }
        catch (Exception e)
        {
            // The process may have no more descriptors, or the peer has gone at once. In any case, others may still
            // connect.
            socket?.Dispose();
            Volatile.Write(ref _isInTrouble, true);
            ConnectionsLog.AcceptFailed(_owner.Logger, Port, e);
            await Task.Delay(Pause, _stopping.Token).ConfigureAwait(false);
        }
    }

    /// <summary>Waits for a place, and ends set-ups that take too long.</summary>
    private async Task TakePlaceAsync()
    {
        TimeSpan wait;
        do
            wait = DropOldest();
        while (!await _places.WaitAsync(wait, _stopping.Token).ConfigureAwait(false));
    }

    /// <summary>Ends the oldest set-up if it takes too long and its place is needed.</summary>
    /// <returns>How long to wait for a place before the next set-up is checked.</returns>
    private TimeSpan DropOldest()
    {
        lock (_newcomers)
        {
            if (_newcomers.First?.Value is not { } oldest)
                return Timeout.InfiniteTimeSpan;
            TimeSpan left = _patience - TimeProvider.System.GetElapsedTime(oldest.Start);
            if (left <= TimeSpan.Zero && _places.CurrentCount == 0)
            {
                _newcomers.RemoveFirst();
                oldest.IsDropped = true;
                // The callbacks of the token must not run under this lock.
                _ = oldest.Ends.CancelAsync();
                return _patience;
            }
            return left > TimeSpan.FromMilliseconds(1) ? left : TimeSpan.FromMilliseconds(1);
        }
    }

    private async Task SetUpAsync(Socket socket)
    {
        RmaConnection connection;
        EndPoint? from = null;
        using var newcomer = new Newcomer(_stopping.Token);
        lock (_newcomers)
            _newcomers.AddLast(newcomer);
        try
        {
            from = socket.RemoteEndPoint;
            connection = await SetUp.AcceptAsync(_owner, socket, newcomer.Ends.Token).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // All exceptions are caught, because they only affect the set-up of this peer.
            _places.Release();
            if (newcomer.IsDropped)
                _failures.Report(from, "The connecting side took too long to complete the set-up while others waited for its place (Backlog).", null);
            else if (!_stopping.IsCancellationRequested)
                _failures.Report(from, e.Message, e is RmaConnectionException ? null : e);
            return;
        }
        finally
        {
            lock (_newcomers)
                _newcomers.Remove(newcomer);
        }
        if (!_accepted.Writer.TryWrite(connection))
            await DropAsync(connection).ConfigureAwait(false);
    }

    private static async Task DropAsync(RmaConnection connection)
    {
        connection.Abort(new ConnectionAbortedException("The listener was closed before the connection was accepted."));
        await connection.DisposeAsync().ConfigureAwait(false);
    }
    /// <summary>A set-up that is not yet complete.</summary>
    private sealed class Newcomer(CancellationToken stopping) : IDisposable
    {
        public CancellationTokenSource Ends { get; } = CancellationTokenSource.CreateLinkedTokenSource(stopping);

        public long Start { get; } = TimeProvider.System.GetTimestamp();

        /// <summary>Whether it was ended because its place was needed.</summary>
        public bool IsDropped { get; set; }

        public void Dispose() => Ends.Dispose();
    }
}
