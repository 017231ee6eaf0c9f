using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using AllocTools.Connections.Control;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Validation;

namespace AllocTools.Connections;

/// <summary>Sets up a connection on either side, from the TCP connection on.</summary>
/// <remarks>
/// The messages are Hello (the connecting side's process and transports), Welcome (the listening side's process and
/// transport, with its number and block), and Block (the connecting side's number and block). Each side is ready for
/// writes before it announces where to write.
/// </remarks>
internal static class SetUp
{
    public static ValueTask<RmaConnection> ConnectAsync(RmaConnections owner, EndPoint endPoint, CancellationToken cancellationToken) =>
        new(MeasureAsync(owner, "rma.connect", ActivityKind.Client, () => ConnectToAnyAsync(owner, endPoint, cancellationToken)));

    /// <summary>Sets up a connection that was accepted.</summary>
    public static Task<RmaConnection> AcceptAsync(RmaConnections owner, Socket socket, CancellationToken cancellationToken) =>
        MeasureAsync(owner, "rma.accept", ActivityKind.Server, () => AcceptFromAsync(owner, socket, cancellationToken));

    private static async Task<RmaConnection> MeasureAsync(RmaConnections owner, string name, ActivityKind kind, Func<Task<RmaConnection>> run)
    {
        long start = owner.Time.GetTimestamp();
        using RmaSpan span = RmaActivities.StartConnection(name, kind, owner.Pool.Name, owner.Provider, owner.Logger);
        try
        {
            RmaConnection connection = await run().ConfigureAwait(false);
            owner.Totals.CountSetUp(owner.Time.GetElapsedTime(start), null);
            return connection;
        }
        catch (Exception e)
        {
            span.Fail(e);
            owner.Totals.CountSetUp(owner.Time.GetElapsedTime(start), e);
            throw;
        }
    }

    /// <summary>Connects over the local pool if the listener chooses it, and over the pool's own fabric if that fails.</summary>
    private static async Task<RmaConnection> ConnectToAnyAsync(RmaConnections owner, EndPoint endPoint, CancellationToken cancellationToken)
    {
        (string Name, ReadOnlyMemory<byte> Address)[] transports = owner.Transports;
        TimeSpan time = owner.Options.SetUpTimeout;
        if (owner is not { Local: { } local, Options.LocalFallback: true } || transports.Length == 1)
            return await ConnectToAsync(owner, endPoint, transports, time, cancellationToken).ConfigureAwait(false);
        long start = owner.Time.GetTimestamp();
        try
        {
            return await ConnectToAsync(owner, endPoint, transports, time / 2, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is RmaException or RmaConnectionException { ErrorType: "refused" or "peer_ended" or "protocol" or "setup_timeout" })
        {
            // If the listener has refused, it is not known which fabric has failed. So the attempt is repeated once
            // without the local one.
            TimeSpan elapsed = owner.Time.GetElapsedTime(start);
            local.Totals.CountSetUp(elapsed, e);
            ConnectionsLog.LocalFallback(owner.Logger, local.Provider, owner.Provider, e.Message);
            return await ConnectToAsync(owner, endPoint, transports[..1], elapsed < time ? time - elapsed : TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task<RmaConnection> ConnectToAsync(RmaConnections owner, EndPoint endPoint, (string Name, ReadOnlyMemory<byte> Address)[] offered, TimeSpan time, CancellationToken cancellationToken)
    {
        Socket socket = NewSocket(endPoint);
        using var limit = new Limit(owner, time, cancellationToken);
        ControlConnection? control = null;
        try
        {
            await socket.ConnectAsync(endPoint is RmaEndPoint ip ? new IPEndPoint(ip.Address, ip.Port) : endPoint, limit.Token).ConfigureAwait(false);
            Prepare(socket, owner.Options.PeerTimeout);
            Stream stream = new NetworkStream(socket, ownsSocket: false);
            control = new ControlConnection(stream, socket, owner.Time);
            if (owner.Options.ClientAuthentication is { } authentication)
            {
                var secured = new SslStream(stream, leaveInnerStreamOpen: false);
                control = new ControlConnection(secured, socket, owner.Time);
                await secured.AuthenticateAsClientAsync(WithTarget(authentication, endPoint), limit.Token).ConfigureAwait(false);
            }
            return await ConnectAsync(owner, control, socket, offered, limit.Token).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            control?.Dispose();
            socket.Dispose();
            Exception? better = Explain(e, limit, "The listener", cancellationToken);
            // With TLS 1.3, this side's handshake ends before the listener has checked its certificate.
            if (owner.Options.ClientAuthentication is not null && (better ?? e) is RmaConnectionException { ErrorType: "peer_ended" })
                throw new RmaConnectionException("The listener closed the control connection. With TLS, it may have rejected this side's certificate, require one (ClientAuthentication), or not use TLS itself; its log has the reason.", e) { ErrorType = "peer_ended" };
            if (better is not null)
                throw better;
            throw;
        }
    }

    private static async Task<RmaConnection> AcceptFromAsync(RmaConnections owner, Socket socket, CancellationToken cancellationToken)
    {
        using var limit = new Limit(owner, owner.Options.SetUpTimeout, cancellationToken);
        ControlConnection? control = null;
        try
        {
            Prepare(socket, owner.Options.PeerTimeout);
            Stream stream = new NetworkStream(socket, ownsSocket: false);
            control = new ControlConnection(stream, socket, owner.Time);
            if (owner.Options.ServerAuthentication is { } authentication)
            {
                var secured = new SslStream(stream, leaveInnerStreamOpen: false);
                control = new ControlConnection(secured, socket, owner.Time);
                await secured.AuthenticateAsServerAsync(authentication, limit.Token).ConfigureAwait(false);
            }
            return await AcceptAsync(owner, control, socket, limit.Token).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            Exception reason = Explain(e, limit, "The connecting side", cancellationToken) ?? e;
            try
            {
                // TLS has already notified the peer with an alert, and carries nothing more.
                if (control is not null && e is not AuthenticationException)
                    await RefuseAsync(control, reason, limit.Token).ConfigureAwait(false);
            }
            finally
            {
                control?.Dispose();
                socket.Dispose();
            }
            if (reason != e)
                throw reason;
            throw;
        }
    }

    private static async Task<RmaConnection> ConnectAsync(RmaConnections owner, ControlConnection control, Socket socket, (string Name, ReadOnlyMemory<byte> Address)[] offered, CancellationToken cancellationToken)
    {
        await control.SendAsync(SetUpMessages.Hello(owner.Terms, offered), cancellationToken).ConfigureAwait(false);
        (ControlKind kind, ReadOnlyMemory<byte> payload) = await control.ReadAsync(cancellationToken).ConfigureAwait(false);
        if (kind == ControlKind.Refused)
            throw new RmaConnectionException($"The listener refused the connection: {SetUpMessages.ReadRefusal(payload.Span)}") { ErrorType = "refused" };
        Expect(ControlKind.Welcome, kind);
        (ProcessTerms terms, string transport, byte[] address, int number, RemoteMemory block) = SetUpMessages.ReadWelcome(payload.Span);
        RmaConnections used = (offered.Any(o => o.Name == transport) ? owner.Find(transport) : null) ?? throw new RmaConnectionException("The listener picked a transport that was not offered.");
        Check(used, terms);
        if (terms.Integrity < used.Options.Integrity)
            throw new RmaConnectionException($"The listener uses the check value {terms.Integrity} (Integrity), which is weaker than the {used.Options.Integrity} of this side.") { ErrorType = "options" };
        RmaPeer peer = used.InsertPeer(address);
        RmaConnection connection = Add(used, control, peer, terms, terms.Integrity);
        bool peerKnows = false;
        try
        {
            Complete(connection, control, socket);
            RemoteRegion region = used.Import(peer, block);
            peerKnows = true;
            await control.SendAsync(SetUpMessages.Block(connection.Number, connection.Block), cancellationToken).ConfigureAwait(false);
            connection.Start(region, number);
            return connection;
        }
        catch (Exception e)
        {
            connection.Drop(e, peerKnows);
            throw;
        }
    }

    private static async Task<RmaConnection> AcceptAsync(RmaConnections owner, ControlConnection control, Socket socket, CancellationToken cancellationToken)
    {
        (ControlKind kind, ReadOnlyMemory<byte> payload) = await control.ReadAsync(cancellationToken).ConfigureAwait(false);
        Expect(ControlKind.Hello, kind);
        (ProcessTerms terms, List<(string Name, byte[] Address)> transports) = SetUpMessages.ReadHello(payload.Span);
        RmaConnections used = owner.Pick(terms, name => transports.Exists(t => t.Name == name))
            ?? throw new RmaConnectionException($"This side uses provider '{owner.Provider}', but the connecting side does not. Both must use the same provider.") { ErrorType = "provider" };
        Check(used, terms);
        RmaPeer peer = used.InsertPeer(transports.Find(t => t.Name == used.Provider).Address);
        // The stronger check value of both sides is used.
        RmaIntegrity integrity = ProcessTerms.Stronger(terms.Integrity, used.Options.Integrity);
        RmaConnection connection = Add(used, control, peer, terms, integrity);
        bool peerKnows = false;
        try
        {
            Complete(connection, control, socket);
            peerKnows = true;
            await control.SendAsync(SetUpMessages.Welcome(used.Terms with { Process = owner.Process, Integrity = integrity }, used.Provider, used.Address.Span, connection.Number, connection.Block), cancellationToken).ConfigureAwait(false);
            (kind, payload) = await control.ReadAsync(cancellationToken).ConfigureAwait(false);
            Expect(ControlKind.Block, kind);
            (int number, RemoteMemory block) = SetUpMessages.ReadBlock(payload.Span);
            connection.Start(used.Import(peer, block), number);
            return connection;
        }
        catch (Exception e)
        {
            connection.Drop(e, peerKnows);
            throw;
        }
    }

    /// <summary>Checks that the peer's heartbeats are frequent enough for this side's PeerTimeout.</summary>
    private static void Check(RmaConnections owner, ProcessTerms peer)
    {
        if (peer.HeartbeatInterval >= owner.Options.PeerTimeout)
            throw new RmaConnectionException($"The HeartbeatInterval of one side ({InWords.Time(peer.HeartbeatInterval)}) must be shorter than the PeerTimeout of the other ({InWords.Time(owner.Options.PeerTimeout)}).") { ErrorType = "options" };
    }

    private static RmaConnection Add(RmaConnections owner, ControlConnection control, RmaPeer peer, ProcessTerms terms, RmaIntegrity integrity)
    {
        try
        {
            return owner.Add(control, peer, terms, integrity);
        }
        catch
        {
            owner.RemovePeer(peer);
            throw;
        }
    }

    private static void Complete(RmaConnection connection, ControlConnection control, Socket socket)
    {
        connection.RemoteCertificate = control.RemoteCertificate;
        connection.LocalEndPoint = socket.LocalEndPoint;
        connection.RemoteEndPoint = socket.RemoteEndPoint;
    }

    private static void Expect(ControlKind expected, ControlKind found)
    {
        if (found == ControlKind.None)
            throw new RmaConnectionException("The peer has closed the control connection during the set-up.") { ErrorType = "peer_ended" };
        if (found != expected)
            throw new RmaConnectionException($"The peer sent a frame of kind {(int)found} instead of {expected} ({(int)expected}). It does not use AllocTools, or uses another version of it.");
    }

    /// <summary>Sends the reason to the peer, if it concerns the peer. Details of the pool and the system are not sent.</summary>
    private static async Task RefuseAsync(ControlConnection control, Exception reason, CancellationToken cancellationToken)
    {
        if (reason is not (RmaConnectionException or RmaException))
            return;
        try
        {
            await control.SendAsync(SetUpMessages.Refused(reason is RmaConnectionException or RmaProviderException ? reason.Message : "the listener has no memory for it"), cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException or OperationCanceledException)
        {
            // The peer is gone; the reason is logged here.
        }
    }

    private static Exception? Explain(Exception error, Limit limit, string peer, CancellationToken caller) => error switch
    {
        OperationCanceledException when caller.IsCancellationRequested => new OperationCanceledException(error.Message, error, caller),
        OperationCanceledException when limit.IsClosing => new ObjectDisposedException(nameof(RmaConnections)),
        OperationCanceledException when limit.IsOver => new RmaConnectionException($"{peer} did not complete the set-up within {limit.Time.TotalSeconds:0.###} s (SetUpTimeout).", error) { ErrorType = "setup_timeout" },
        AuthenticationException => new RmaConnectionException($"{peer} could not be authenticated: {error.Message}", error) { ErrorType = "authentication" },
        IOException and not RmaConnectionException => new RmaConnectionException($"{peer} has closed the control connection during the set-up.", error) { ErrorType = "peer_ended" },
        _ => null,
    };

    private static Socket NewSocket(EndPoint endPoint) => endPoint is IPEndPoint ip
        ? new Socket(ip.AddressFamily, SocketType.Stream, ProtocolType.Tcp)
        : new Socket(SocketType.Stream, ProtocolType.Tcp);

    /// <summary>
    /// Makes the system end the connection if nothing gets through for about as long as a peer may be silent.
    /// Otherwise, that would take a quarter of an hour, and the memory would stay in quarantine.
    /// </summary>
    private static void Prepare(Socket socket, TimeSpan limit)
    {
        socket.NoDelay = true;
        int seconds = (int)Math.Clamp(Math.Ceiling(limit.TotalSeconds), 1, 32_767);
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, optionValue: true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, seconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, Math.Max(1, seconds / 3));
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
        // tcp(7): TCP_USER_TIMEOUT, in milliseconds, applies to data that was sent and is not acknowledged.
        if (OperatingSystem.IsLinux())
            socket.SetRawSocketOption(6, 18, MemoryMarshal.AsBytes([seconds * 1000]));
    }

    /// <summary>Returns the options with the end point's host as target, if they have none.</summary>
    internal static SslClientAuthenticationOptions WithTarget(SslClientAuthenticationOptions options, EndPoint endPoint)
    {
        if (!string.IsNullOrEmpty(options.TargetHost))
            return options;
        var copy = new SslClientAuthenticationOptions
        {
            TargetHost = endPoint switch { DnsEndPoint dns => dns.Host, IPEndPoint ip => ip.Address.ToString(), _ => "" },
            ClientCertificates = options.ClientCertificates,
            ClientCertificateContext = options.ClientCertificateContext,
            LocalCertificateSelectionCallback = options.LocalCertificateSelectionCallback,
            RemoteCertificateValidationCallback = options.RemoteCertificateValidationCallback,
            CertificateRevocationCheckMode = options.CertificateRevocationCheckMode,
            CertificateChainPolicy = options.CertificateChainPolicy,
            EnabledSslProtocols = options.EnabledSslProtocols,
            ApplicationProtocols = options.ApplicationProtocols,
            CipherSuitesPolicy = options.CipherSuitesPolicy,
            EncryptionPolicy = options.EncryptionPolicy,
            AllowRenegotiation = options.AllowRenegotiation,
            AllowTlsResume = options.AllowTlsResume,
        };
        if (OperatingSystem.IsLinux() || OperatingSystem.IsWindows())
            (copy.AllowRsaPkcs1Padding, copy.AllowRsaPssPadding) = (options.AllowRsaPkcs1Padding, options.AllowRsaPssPadding);
        return copy;
    }

    /// <summary>Limits the time of a set-up.</summary>
    private sealed class Limit : IDisposable
    {
        private readonly CancellationTokenSource _over;
        private readonly CancellationTokenSource _any;
        private readonly CancellationToken _closing;

        public Limit(RmaConnections owner, TimeSpan time, CancellationToken cancellationToken)
        {
            Time = time;
            _closing = owner.Closing;
            _over = new CancellationTokenSource(Time, owner.Time);
            _any = CancellationTokenSource.CreateLinkedTokenSource(_over.Token, owner.Closing, cancellationToken);
        }

        public TimeSpan Time { get; }

        public CancellationToken Token => _any.Token;

        /// <summary>Whether the connections are being disposed.</summary>
        public bool IsClosing => _closing.IsCancellationRequested;

        public bool IsOver => _over.IsCancellationRequested;

        public void Dispose()
        {
            _any.Dispose();
            _over.Dispose();
        }
    }
}
