using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AllocTools.Connections.Control;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>Tests which connections are established and which are not: each failure has one clear error.</summary>
public sealed class SetUpTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task NothingListensThere()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        using var closed = new Socket(SocketType.Stream, ProtocolType.Tcp);
        closed.Bind(new IPEndPoint(IPAddress.IPv6Loopback, 0));
        var error = await Assert.ThrowsAsync<SocketException>(() => side.Connections.ConnectAsync(closed.LocalEndPoint!, Token).AsTask());
        Assert.Equal(SocketError.ConnectionRefused, error.SocketErrorCode);
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task AnotherProgramListensThere()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        Assert.Throws<AddressInUseException>(() => side.Connections.Listen((RmaEndPoint)listener.EndPoint));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AListenerThatSaysNothingIsGivenUp(bool isCancelled)
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, o => o.SetUpTimeout = isCancelled ? TimeSpan.FromMinutes(10) : TimeSpan.FromMilliseconds(100));
        using var mute = new TcpListener(IPAddress.Loopback, 0);
        mute.Start();
        using var cancel = new CancellationTokenSource();
        Task<RmaConnection> connecting = side.Connections.ConnectAsync(mute.LocalEndpoint, cancel.Token).AsTask();
        using Socket accepted = await mute.AcceptSocketAsync(Token);
        if (isCancelled)
        {
            await cancel.CancelAsync();
            Assert.Equal(cancel.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connecting)).CancellationToken);
            Assert.Empty(side.Connections.GetStatistics().SetUpFailuresByError);
        }
        else
        {
            Assert.Contains("SetUpTimeout", (await Assert.ThrowsAsync<RmaConnectionException>(() => connecting)).Message, StringComparison.Ordinal);
            Assert.Equal(("setup_timeout", 1L), Assert.Single(side.Connections.GetStatistics().SetUpFailuresByError) is var failure ? (failure.Key, failure.Value) : default);
        }
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task ASetUpOfConnectionsThatAreDisposedSaysSo()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        using var mute = new TcpListener(IPAddress.Loopback, 0);
        mute.Start();
        Task<RmaConnection> connecting = side.Connections.ConnectAsync(mute.LocalEndpoint, Token).AsTask();
        using Socket accepted = await mute.AcceptSocketAsync(Token);
        side.Connections.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => connecting);
        await Assert.ThrowsAsync<ArgumentException>(() => side.Connections.ConnectAsync(new UnixDomainSocketEndPoint("/none"), Token).AsTask());
    }

    [Fact]
    public async Task ListeningWhileAllIsDisposedLeavesNoListener()
    {
        var log = new DisposingLog();
        using var factory = new Microsoft.Extensions.Logging.LoggerFactory([log]);
        await using var side = new ConnectionSide(ConnectionSide.Host, logging: factory);
        log.OnListening = side.Connections.Dispose;
        Assert.Throws<ObjectDisposedException>(() => side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0)));
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        while (true)
        {
            using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                other.Bind(new IPEndPoint(IPAddress.Loopback, log.Port));
                break;
            }
            catch (SocketException) when (!limit.IsCancellationRequested)
            {
                await Task.Delay(5, CancellationToken.None);
            }
        }
    }

    [Fact]
    public async Task MoreConnectionsThanMayBeAreRefused()
    {
        var log = new LogRecorder();
        await using var right = new ConnectionSide(ConnectionSide.Host, static o => o.MaxConnections = 1, log.Factory);
        await using var left = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        RmaConnection first = await left.Connections.ConnectAsync(listener.EndPoint, Token);
        ConnectionContext accepted = (await listener.AcceptAsync(Token))!;
        var error = await Assert.ThrowsAsync<RmaConnectionException>(() => left.Connections.ConnectAsync(listener.EndPoint, Token).AsTask());
        Assert.Contains("has reached its limit of connections (1, MaxConnections)", error.Message, StringComparison.Ordinal);
        await log.SingleAsync(81);
        Assert.Equal(("refused", "too_many"), (left.Connections.GetStatistics().SetUpFailuresByError.Single().Key, right.Connections.GetStatistics().SetUpFailuresByError.Single().Key));
        await first.DisposeAsync();
        await accepted.DisposeAsync();
        await right.BecomesCleanAsync();
        await using RmaConnection next = await left.Connections.ConnectAsync(listener.EndPoint, Token);
    }

    [Fact]
    public void OptionsOfTlsAreTakenWholeWhereTheTargetIsTheEndPoint()
    {
        var options = new SslClientAuthenticationOptions
        {
            AllowRenegotiation = false,
            AllowTlsResume = false,
            ApplicationProtocols = [SslApplicationProtocol.Http2],
            CertificateChainPolicy = new X509ChainPolicy(),
            CertificateRevocationCheckMode = X509RevocationMode.Online,
            ClientCertificates = [],
            EnabledSslProtocols = System.Security.Authentication.SslProtocols.Tls13,
            LocalCertificateSelectionCallback = static (_, _, _, _, _) => null!,
            RemoteCertificateValidationCallback = static (_, _, _, _) => false,
        };
        if (OperatingSystem.IsLinux())
            options.AllowRsaPkcs1Padding = options.AllowRsaPssPadding = false;
        SslClientAuthenticationOptions used = SetUp.WithTarget(options, new DnsEndPoint("server", 1));
        Assert.Equal("server", used.TargetHost);
        foreach (System.Reflection.PropertyInfo property in typeof(SslClientAuthenticationOptions).GetProperties())
        {
            if (property.Name != nameof(options.TargetHost))
                Assert.Equal(property.GetValue(options), property.GetValue(used));
        }
    }

    [Theory]
    [InlineData("no notifications", "NotificationSize is 0")]
    [InlineData("short notifications", "NotificationSize is 2")]
    [InlineData("no access", "no access to peers' memory")]
    [InlineData("no thread", "Provider:Endpoint:Progress")]
    public void ATransportThatCannotCarryConnectionsIsRefused(string lack, string says)
    {
        var provider = new HostProviderOptions { Locking = PageLocking.None };
        if (lack == "no thread")
            provider.Endpoint.Progress = RmaProgress.Caller;
        using IRmaContext context = new HostProvider(provider).Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        RmaProviderTraits traits = lack switch
        {
            "no notifications" => context.Traits with { NotificationSize = 0 },
            "short notifications" => context.Traits with { NotificationSize = 2 },
            "no access" => context.Traits with { RemoteAccess = false },
            _ => context.Traits,
        };
        var error = Assert.Throws<NotSupportedException>(() => new RmaConnections(new HeldPool(pool) { Context = new DescribedContext(context, traits) }));
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
        Assert.Contains("'host'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LocalConnectionsAreOverAnotherProvider()
    {
        await using var near = new ConnectionSide(ConnectionSide.Host);
        Assert.Contains("uses provider 'host'", Assert.Throws<ArgumentException>(() => new RmaConnections(near.Pool, local: near.Connections)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void EndPointsOfDifferentPoolsDiffer()
    {
        var plain = new IPEndPoint(IPAddress.Loopback, 5);
        RmaEndPoint unnamed = new(plain), one = new(plain, "one"), same = new(plain, "one"), other = new(plain, "other");
        Assert.True(one.Equals(same) && one.GetHashCode() == same.GetHashCode());
        Assert.True(unnamed.Equals(plain) && plain.Equals(unnamed) && unnamed.GetHashCode() == plain.GetHashCode());
        Assert.False(one.Equals(other) || one.Equals(unnamed) || unnamed.Equals(one));
        Assert.Equal("one", ((RmaEndPoint)one.Create(plain.Serialize())).PoolName);
        // Kestrel builds its URLs from this.
        Assert.Equal("127.0.0.1:5", one.ToString());
    }

    [Theory]
    [InlineData(RmaIntegrity.None, RmaIntegrity.None, RmaIntegrity.None)]
    [InlineData(RmaIntegrity.None, RmaIntegrity.Crc32C, RmaIntegrity.Crc32C)]
    [InlineData(RmaIntegrity.XxHash3, RmaIntegrity.None, RmaIntegrity.XxHash3)]
    [InlineData(RmaIntegrity.XxHash3, RmaIntegrity.Crc32C, RmaIntegrity.XxHash3)]
    public async Task TheStrongerCheckValueOfBothSidesIsUsed(RmaIntegrity connecting, RmaIntegrity listening, RmaIntegrity used)
    {
        await using var left = new ConnectionSide(ConnectionSide.Host, o => o.Integrity = connecting);
        await using var right = new ConnectionSide(ConnectionSide.Host, o => o.Integrity = listening);
        await using RmaConnectionListener listener = right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        Task<RmaConnection> connected = left.Connections.ConnectAsync(listener.EndPoint, Token).AsTask();
        await using var accepted = (RmaConnection)(await listener.AcceptAsync(Token))!;
        await using RmaConnection connection = await connected;
        Assert.Equal((used, used), (connection.Integrity, accepted.Integrity));
    }

    public static TheoryData<string, string> WrongAnswers => new()
    {
        { "refusal", "The listener refused the connection: version 2 wanted" },
        { "version", "is of version 9 of the protocol, and this side speaks version 2" },
        { "transport", "picked a transport that was not offered" },
        { "HTTP", "kind 72" },
        { "end", "closed the control connection during the set-up" },
        { "block", "describes 64 bytes for RemoteWrite" },
        { "weaker", "The listener uses the check value None (Integrity), which is weaker than the Crc32C of this side." },
        { "kind", "asks for check values of kind 9, which this side does not know" },
        { "address", "The peer's address of 4 bytes" },
    };

    [Theory, MemberData(nameof(WrongAnswers))]
    public async Task AListenerThatAnswersSomethingElseIsAnError(string answer, string says)
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, o => o.Integrity = answer == "weaker" ? RmaIntegrity.Crc32C : RmaIntegrity.None);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Task<RmaConnection> connecting = side.Connections.ConnectAsync(listener.LocalEndpoint, Token).AsTask();
        using Socket accepted = await listener.AcceptSocketAsync(Token);
        ProcessTerms terms = RawPeer.Terms with { Integrity = answer == "kind" ? (RmaIntegrity)9 : RmaIntegrity.None };
        var memory = new RemoteMemory(0, 4096, 1, RmaAccess.RemoteWrite);
        byte[] welcome = SetUpMessages.Welcome(terms, answer == "transport" ? "tcp" : "host", new byte[4], 3, answer == "block" ? new RemoteMemory(0, 64, 1, RmaAccess.RemoteWrite) : memory);
        if (answer == "version")
            welcome[7] = 9;
        await accepted.SendAsync(answer switch
        {
            "refusal" => SetUpMessages.Refused("version 2\n wanted"),
            "HTTP" => "HTTP/1.1 400 Bad Request\r\n\r\n"u8.ToArray(),
            "end" => [],
            _ => welcome,
        });
        accepted.Shutdown(SocketShutdown.Send);
        Exception error = await Assert.ThrowsAnyAsync<Exception>(() => connecting);
        Assert.True(error is RmaConnectionException or RmaProviderException, error.ToString());
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task AListenerOnAnotherTransportSaysSo()
    {
        await using var host = new ConnectionSide(ConnectionSide.Host);
        await using var fabric = new ConnectionSide(Fabric.Any);
        await using RmaConnectionListener listener = host.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        var error = await Assert.ThrowsAsync<RmaConnectionException>(() => fabric.Connections.ConnectAsync(listener.EndPoint, Token).AsTask());
        Assert.Contains("refused the connection: This side uses provider 'host'", error.Message, StringComparison.Ordinal);
        await fabric.BecomesCleanAsync();
    }

    [Theory]
    [InlineData(true, true, ConnectionSide.Host)]
    [InlineData(true, false, Fabric.Tcp)]
    [InlineData(false, true, Fabric.Tcp)]
    public async Task ProcessesOfOneHostUseTheLocalTransportWhereBothHaveOne(bool leftHas, bool rightHas, string carries)
    {
        await using var localLeft = new ConnectionSide(ConnectionSide.Host);
        await using var localRight = new ConnectionSide(ConnectionSide.Host);
        await using var left = new ConnectionSide(Fabric.Tcp, local: leftHas ? localLeft : null);
        await using var right = new ConnectionSide(Fabric.Tcp, local: rightHas ? localRight : null);
        await using RmaConnectionListener listener = right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        RmaConnection connection = await left.Connections.ConnectAsync(listener.EndPoint, Token);
        var accepted = (RmaConnection)(await listener.AcceptAsync(Token))!;
        Assert.Equal((carries, carries), (connection.Provider, accepted.Provider));
        Assert.Equal((left.Connections.Process, right.Connections.Process), (accepted.PeerProcess, connection.PeerProcess));
        byte[] sent = RandomNumberGenerator.GetBytes(100_000);
        Task writing = Task.Run(async () => await connection.Output.WriteAsync(sent), Token);
        Assert.Equal(sent, await accepted.Input.ReadBytesAsync(sent.Length));
        await writing;
        // Memory beside the stream is accessed over the transport that carries the connection.
        using (RmaBuffer theirs = accepted.Pool.Rent(100), ours = connection.Pool.Rent(100))
        using (RmaExposure exposure = theirs.Expose(RmaAccess.RemoteWrite))
        {
            ours.Span.Fill(7);
            await connection.Endpoint.WriteAsync(ours, connection.Import(exposure.Remote), cancellationToken: Token);
            await connection.Output.WriteAsync(new byte[1], Token);
            await accepted.Input.ReadBytesAsync(1);
            Assert.Equal(Enumerable.Repeat((byte)7, 100), theirs.Span.ToArray());
        }
        await connection.DisposeAsync();
        await accepted.DisposeAsync();
        foreach (ConnectionSide side in new[] { left, right, localLeft, localRight })
            await side.BecomesCleanAsync();
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(false, false)]
    public async Task AConnectionThatTheLocalTransportCantCarryTakesTheOtherOneWhereTheOptionSaysSo(bool listenerIsFull, bool fallsBack)
    {
        using var log = new LogRecorder();
        await using var localLeft = new ConnectionSide(ConnectionSide.Host);
        await using var localRight = new ConnectionSide(ConnectionSide.Host);
        await using var left = new ConnectionSide(Fabric.Tcp, o => o.LocalFallback = fallsBack, log.Factory, localLeft);
        await using var right = new ConnectionSide(Fabric.Tcp, local: localRight);
        await using RmaConnectionListener listener = right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        var rest = new List<RmaBuffer>();
        while ((listenerIsFull ? localRight : localLeft).Pool.TryRent(1024, out RmaBuffer buffer))
            rest.Add(buffer);
        Task<RmaConnection> connecting = left.Connections.ConnectAsync(listener.EndPoint, Token).AsTask();
        if (!fallsBack)
        {
            Assert.True(await Record.ExceptionAsync(() => connecting) is RmaConnectionException { ErrorType: "refused" } or RmaPoolExhaustedException);
            Assert.DoesNotContain(log.All, static l => l.Id == 92);
            rest.ForEach(static b => b.Dispose());
            return;
        }
        await using RmaConnection connection = await connecting;
        await using ConnectionContext accepted = (await listener.AcceptAsync(Token))!;
        Assert.Equal((Fabric.Tcp, Fabric.Tcp), (connection.Provider, ((RmaConnection)accepted).Provider));
        byte[] sent = RandomNumberGenerator.GetBytes(10_000);
        await connection.Output.WriteAsync(sent, Token);
        Assert.Equal(sent, await accepted.Transport.Input.ReadBytesAsync(sent.Length));
        Assert.Contains($"is tried over provider '{Fabric.Tcp}' alone", await log.SingleAsync(92), StringComparison.Ordinal);
        Assert.Equal(1, localLeft.Connections.GetStatistics().SetUpFailuresByError.Values.Sum());
        Assert.Empty(left.Connections.GetStatistics().SetUpFailuresByError);
        rest.ForEach(static b => b.Dispose());
        // Once there is room, the next one is local again.
        await using RmaConnection next = await left.Connections.ConnectAsync(listener.EndPoint, Token);
        Assert.Equal(ConnectionSide.Host, next.Provider);
    }

    [Fact]
    public void AWriteOfAPeerMayComeForAsLongAsItsTimesSay()
    {
        ProcessTerms terms = RawPeer.Terms with { PeerTimeout = TimeSpan.FromSeconds(20), OperationTimeout = TimeSpan.FromSeconds(30) };
        Assert.Equal(TimeSpan.FromSeconds(50), terms.LatestWrite);
        // No peer can cause memory to be kept forever.
        Assert.Equal(TimeSpan.FromMinutes(10), (terms with { OperationTimeout = Timeout.InfiniteTimeSpan }).LatestWrite);
        Assert.Equal(TimeSpan.FromMinutes(10), (terms with { PeerTimeout = TimeSpan.FromHours(24) }).LatestWrite);
        ProcessTerms both = terms.Or(terms with { OperationTimeout = Timeout.InfiniteTimeSpan, PeerTimeout = TimeSpan.FromSeconds(1), DeliveryComplete = false });
        Assert.Equal((TimeSpan.FromSeconds(20), Timeout.InfiniteTimeSpan, false), (both.PeerTimeout, both.OperationTimeout, both.DeliveryComplete));
        // The number of this process, and one of a process that does not exist.
        Assert.Equal(LocalHost.StartOf(Environment.ProcessId), LocalHost.StartOf(Environment.ProcessId));
        Assert.NotNull(LocalHost.StartOf(Environment.ProcessId));
        Assert.Null(LocalHost.StartOf(int.MaxValue));
    }

    [Fact]
    public async Task AProcessOfAnotherHostIsServedOverTheNetwork()
    {
        await using var local = new ConnectionSide(ConnectionSide.Host);
        await using var side = new ConnectionSide(Fabric.Tcp, local: local);
        Assert.Same(side.Connections, side.Connections.Pick(RawPeer.Terms, static _ => true));
        Assert.Same(side.Connections, side.Connections.Pick(RawPeer.Terms with { Host = Guid.NewGuid() }, static _ => true));
        Assert.Same(local.Connections, side.Connections.Pick(RawPeer.Terms with { Host = LocalHost.Id }, static _ => true));
        Assert.Same(side.Connections, side.Connections.Pick(RawPeer.Terms with { Host = LocalHost.Id }, static name => name == Fabric.Tcp));
        Assert.Null(side.Connections.Pick(RawPeer.Terms with { Host = Guid.NewGuid() }, static name => name == ConnectionSide.Host));
        Assert.NotEqual(Guid.Empty, LocalHost.Id);
    }

    [Fact]
    public async Task APoolWithoutRoomRefusesOneConnectionAndServesTheNext()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host);
        var rest = new List<RmaBuffer>();
        while (pair.RightSide.Pool.TryRent(1024, out RmaBuffer buffer))
            rest.Add(buffer);
        var error = await Assert.ThrowsAsync<RmaConnectionException>(() => pair.LeftSide.Connections.ConnectAsync(pair.EndPoint, Token).AsTask());
        Assert.Contains("the listener has no memory for it", error.Message, StringComparison.Ordinal);
        rest.ForEach(static b => b.Dispose());
        (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
        await left.DisposeAsync();
        await right.DisposeAsync();
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task AnUnboundListenerGivesWhatItHasAndThenNothing()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        using var cancel = new CancellationTokenSource();
        Task<ConnectionContext?> accepting = listener.AcceptAsync(cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => accepting);
        await using RmaConnection left = await side.Connections.ConnectAsync(listener.EndPoint, Token);
        await using ConnectionContext right = (await listener.AcceptAsync(Token))!;
        await listener.UnbindAsync(Token);
        Assert.Null(await listener.AcceptAsync(Token));
        // Existing connections continue.
        await left.Output.WriteAsync(new byte[3], Token);
        Assert.Equal(3, (await right.Transport.Input.ReadBytesAsync(3)).Length);
    }

    [Fact]
    public async Task AListenerKeepsTheNameOfItsPoolAndAFactoryRefusesThatOfAnotherOne()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        var factory = new RmaConnectionListenerFactory(side.Connections);
        var anywhere = new IPEndPoint(IPAddress.Loopback, 0);
        var own = new RmaEndPoint(anywhere, side.Pool.Name);
        Assert.True(factory.CanBind(own));
        await using IConnectionListener listener = await factory.BindAsync(own, Token);
        Assert.Equal(side.Pool.Name, Assert.IsType<RmaEndPoint>(listener.EndPoint).PoolName);
        var foreign = new RmaEndPoint(anywhere, "back");
        Assert.False(factory.CanBind(foreign));
        ArgumentException error = await Assert.ThrowsAsync<ArgumentException>(() => factory.BindAsync(foreign, Token).AsTask());
        Assert.Contains($"belongs to the pool 'back', but this factory listens over the pool '{side.Pool.Name}'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TlsAuthenticatesBothSides()
    {
        using X509Certificate2 server = Certificate("server");
        using X509Certificate2 client = Certificate("client");
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, o =>
        {
            o.ServerAuthentication = new SslServerAuthenticationOptions { ServerCertificate = server, ClientCertificateRequired = true, RemoteCertificateValidationCallback = (_, c, _, _) => IsSame(c, client) };
            o.ClientAuthentication = new SslClientAuthenticationOptions { TargetHost = "server", ClientCertificates = [client], RemoteCertificateValidationCallback = (_, c, _, _) => IsSame(c, server) };
        });
        Assert.True(IsSame(pair.Left.RemoteCertificate, server));
        Assert.True(IsSame(pair.Right.RemoteCertificate, client));
        Assert.Same(pair.Right, pair.Right.Features.Get<IRmaConnectionFeature>()?.Connection);
        // Otherwise Kestrel would take the data for HTTPS.
        Assert.Null(pair.Right.Features.Get<Microsoft.AspNetCore.Http.Features.ITlsConnectionFeature>());
        byte[] sent = RandomNumberGenerator.GetBytes(500_000);
        Task writing = Task.Run(async () => await pair.Left.Output.WriteAsync(sent), Token);
        // Meanwhile the ring has grown, by an offer on the secured connection.
        Assert.Equal(sent, await pair.Right.Input.ReadBytesAsync(sent.Length));
        await writing;
        await pair.EndCleanlyAsync();
        // The certificate belongs to the application, even after the connection is over.
        Assert.True(IsSame(pair.Right.RemoteCertificate, client));
    }

    [Fact]
    public async Task WithoutTlsOrACertificateOfTheClientThereIsNone()
    {
        using X509Certificate2 server = Certificate("server");
        await using ConnectedPair plain = await ConnectedPair.OpenAsync(ConnectionSide.Host);
        Assert.Null(plain.Left.RemoteCertificate);
        Assert.Null(plain.Right.RemoteCertificate);
        await using ConnectedPair secured = await ConnectedPair.OpenAsync(ConnectionSide.Host, o =>
        {
            o.ServerAuthentication = new SslServerAuthenticationOptions { ServerCertificate = server };
            o.ClientAuthentication = new SslClientAuthenticationOptions { TargetHost = "server", RemoteCertificateValidationCallback = (_, c, _, _) => IsSame(c, server) };
        });
        Assert.Null(secured.Right.RemoteCertificate);
    }

    [Theory]
    [InlineData("another certificate of the server")]
    [InlineData("another certificate of the client")]
    [InlineData("no certificate of the client")]
    [InlineData("no TLS at the client")]
    [InlineData("no TLS at the server")]
    public async Task AWrongCertificateOrNoTlsIsRefused(string what)
    {
        using X509Certificate2 server = Certificate("server");
        using X509Certificate2 client = Certificate("client");
        using X509Certificate2 other = Certificate("other");
        var log = new LogRecorder();
        await using var right = new ConnectionSide(ConnectionSide.Host, o => (o.SetUpTimeout, o.ServerAuthentication) = (TestTime.Seconds(60), what == "no TLS at the server" ? null : new SslServerAuthenticationOptions
        {
            ServerCertificate = what == "another certificate of the server" ? other : server,
            ClientCertificateRequired = true,
            RemoteCertificateValidationCallback = (_, c, _, _) => IsSame(c, client),
        }), log.Factory);
        await using var left = new ConnectionSide(ConnectionSide.Host, o => (o.SetUpTimeout, o.ClientAuthentication) = (TestTime.Seconds(60), what == "no TLS at the client" ? null : new SslClientAuthenticationOptions
        {
            TargetHost = "server",
            ClientCertificates = what == "no certificate of the client" ? null : [what == "another certificate of the client" ? other : client],
            RemoteCertificateValidationCallback = (_, c, _, _) => IsSame(c, server),
        }));
        await using RmaConnectionListener listener = right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        RmaConnectionException error = await Assert.ThrowsAsync<RmaConnectionException>(() => left.Connections.ConnectAsync(listener.EndPoint, Token).AsTask());
        Assert.DoesNotContain("SetUpTimeout", error.Message, StringComparison.Ordinal);
        if (what.EndsWith("of the client", StringComparison.Ordinal))
            Assert.Contains("rejected this side's certificate", error.Message, StringComparison.Ordinal);
        await log.SingleAsync(81);
        await left.BecomesCleanAsync();
        await right.BecomesCleanAsync();
    }

    /// <summary>A log that runs an action while a listener is created.</summary>
    private sealed class DisposingLog : Microsoft.Extensions.Logging.ILoggerProvider, Microsoft.Extensions.Logging.ILogger
    {
        public Action OnListening { get; set; } = static () => { };

        public int Port { get; private set; }

        public Microsoft.Extensions.Logging.ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(
            Microsoft.Extensions.Logging.LogLevel logLevel, Microsoft.Extensions.Logging.EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (eventId.Id != 80)
                return;
            Port = (int)((IReadOnlyList<KeyValuePair<string, object?>>)state!).Single(static s => s.Key == "Port").Value!;
            OnListening();
        }

        public void Dispose()
        {
        }
    }

    /// <summary>A context with the traits that a test gives it.</summary>
    private sealed class DescribedContext(IRmaContext context, RmaProviderTraits traits) : IRmaContext
    {
        public RmaProviderTraits Traits => traits;

        public IRmaRegistration Register(nint address, long length, RmaAccess access) => context.Register(address, length, access);

        public void Deregister(IRmaRegistration registration) => context.Deregister(registration);

        public IRmaEndpoint OpenEndpoint() => context.OpenEndpoint();

        public IDisposable Retain() => context.Retain();

        public void Dispose()
        {
        }
    }

    private static bool IsSame(X509Certificate? found, X509Certificate2 expected) => found?.GetCertHashString() == expected.Thumbprint;

    private static X509Certificate2 Certificate(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        using X509Certificate2 signed = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return X509CertificateLoader.LoadPkcs12(signed.Export(X509ContentType.Pfx), null);
    }
}
