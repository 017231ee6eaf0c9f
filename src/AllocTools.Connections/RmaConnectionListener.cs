using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using AllocTools.Connections.Control;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>Listens for connections; made by <see cref="RmaConnections.Listen"/>.</summary>
/// <remarks>Set-ups run side by side, so that a peer that says nothing holds up nobody. They and those that wait to be accepted are bounded by <see cref="RmaConnectionOptions.Backlog"/>.</remarks>
public sealed class RmaConnectionListener : IConnectionListener
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly RmaConnections _owner;
    private readonly Socket _socket;
    private readonly Channel<RmaConnection> _accepted = Channel.CreateUnbounded<RmaConnection>();
    private readonly SemaphoreSlim _places;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _accepting;
    private int _unbound;
    private bool _isInTrouble;

    internal RmaConnectionListener(RmaConnections owner, IPEndPoint endPoint)
    {
        _owner = owner;
        _places = new SemaphoreSlim(owner.Options.Backlog);
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
        EndPoint = new RmaEndPoint((IPEndPoint)_socket.LocalEndPoint!);
        ConnectionsLog.Listening(owner.Logger, owner.Provider, Port);
        _accepting = Task.Run(RunAsync);
    }

    /// <summary>Where it listens, with the port that the system has picked.</summary>
    public EndPoint EndPoint { get; }

    /// <summary>The system has refused to accept the last time.</summary>
    internal bool IsInTrouble => Volatile.Read(ref _isInTrouble);

    private int Port => ((IPEndPoint)EndPoint).Port;

    /// <summary>Accepts the next connection.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>A <see cref="RmaConnection"/>; null once it is unbound and none is left.</returns>
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

    /// <summary>Stops listening. What was set up before can still be accepted.</summary>
    /// <param name="cancellationToken">Ends the wait until it has stopped; it stops all the same.</param>
    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _unbound, 1) == 0)
        {
            await _stopping.CancelAsync().ConfigureAwait(false);
            _socket.Dispose();
        }
        await _accepting.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Stops listening, and aborts connections that nobody has accepted.</summary>
    public async ValueTask DisposeAsync()
    {
        await UnbindAsync().ConfigureAwait(false);
        while (_accepted.Reader.TryRead(out RmaConnection? connection))
        {
            connection.Abort(new ConnectionAbortedException("The listener was closed before the connection was accepted."));
            await connection.DisposeAsync().ConfigureAwait(false);
        }
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
            // It was unbound.
        }
        finally
        {
            // Whatever has ended it: nothing more can be accepted.
            _accepted.Writer.TryComplete();
        }
    }

    private async Task AcceptOneAsync()
    {
        await _places.WaitAsync(_stopping.Token).ConfigureAwait(false);
        try
        {
            Socket socket = await _socket.AcceptAsync(_stopping.Token).ConfigureAwait(false);
            Volatile.Write(ref _isInTrouble, false);
            _ = SetUpAsync(socket);
        }
        catch (SocketException e) when (!_stopping.IsCancellationRequested)
        {
            // No more descriptors, or the peer was gone at once.
            Volatile.Write(ref _isInTrouble, true);
            ConnectionsLog.AcceptFailed(_owner.Logger, Port, e);
            _places.Release();
            await Task.Delay(Pause, _stopping.Token).ConfigureAwait(false);
        }
    }

    private async Task SetUpAsync(Socket socket)
    {
        RmaConnection connection;
        try
        {
            connection = await SetUp.AcceptAsync(_owner, socket, _stopping.Token).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // Of whatever kind: it is this peer's set-up alone.
            _places.Release();
            if (!_stopping.IsCancellationRequested)
                ConnectionsLog.SetUpFailed(_owner.Logger, e.Message, e is RmaConnectionException ? null : e);
            return;
        }
        if (_accepted.Writer.TryWrite(connection))
            return;
        connection.Abort(new ConnectionAbortedException("The listener was closed before the connection was accepted."));
        await connection.DisposeAsync().ConfigureAwait(false);
    }
}
