using System.IO.Pipelines;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using AllocTools.Endpoints;
using CsCheck;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Connections.Tests.Support;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Tests;

/// <summary>
/// Tests peers that violate the protocol on the control connection and in the ring: there is one clear error, nothing
/// is left, and others go on.
/// </summary>
public sealed class HostilePeerTests
{
    [Fact]
    public async Task BytesThatAreNoSetUpAreRefusedAndLogged()
    {
        var log = new LogRecorder();
        await using var side = new ConnectionSide(ConnectionSide.Host, logging: log.Factory);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var first = new RawPeer(listener.EndPoint);
        byte[] hello = first.Hello;
        first.Socket.Dispose();
        await log.SingleAsync(81);
        // Each case uses its own listener: a listener logs the same failure of an address only once a minute.
        (byte[] Bytes, string Says)[] cases =
        [
            ([], "closed the control connection during the set-up"),
            ([1], "closed the control connection in the middle of a frame"),
            ([1, 5, 0, 1], "closed the control connection in the middle of a frame"),
            ("GET / HTTP/1.1\r\n\r\n"u8.ToArray(), "A connection from 127.0.0.1 was not set up: The peer sent a frame of unknown kind 71 on the control connection. It looks like HTTP over sockets"),
            ([0x16, 0x03, 0x01, 0x02, 0x00], "It looks like TLS"),
            ([0, 0, 0], "kind 0"),
            ([1, 0xFF, 0xFF], "must have at most 8192"),
            (ControlConnection.Frame(ControlKind.Welcome, []), "instead of Hello"),
            (ControlConnection.Frame(ControlKind.Hello, []), "ends too early"),
            (Changed(hello, 3, 0xFF), "does not begin like a message of AllocTools"),
            (Changed(hello, 7, 3), "version 3"),
            (Changed(hello, 48, 0xFF), "has a time of -"),
            (Changed(Changed(hello, 49, 0), 50, 0), "has a time of 0 ms"),
            (Changed(hello, 58, 0), "offers 0 transports"),
            (Changed(hello, 58, 200), "offers 200 transports"),
            (Changed(hello, 61, (byte)'H'), "This side uses provider 'host'"),
            (Changed(hello, 67, (byte)'X'), "The peer's address of"),
            (first.HelloWith(RawPeer.Terms with { HeartbeatInterval = TimeSpan.FromHours(1) })[..], "must be shorter than the PeerTimeout"),
            (first.HelloWith(RawPeer.Terms with { HeartbeatInterval = Timeout.InfiniteTimeSpan })[..], "has a time of -1 ms"),
            (ControlConnection.Frame(ControlKind.Hello, [.. hello.AsSpan(3), 0]), "1 bytes too many"),
        ];
        foreach ((byte[] bytes, string says) in cases)
        {
            log.All.Clear();
            await using RmaConnectionListener own = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
            await using var peer = new RawPeer(own.EndPoint);
            await peer.SendAsync(bytes);
            peer.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            await peer.EndsAsync();
            Assert.Contains(says, await log.SingleAsync(81), StringComparison.Ordinal);
        }
        await side.BecomesCleanAsync();
        await ServesAsync(side, listener);
    }

    [Fact]
    public void TheSameOfOneAddressIsLoggedOnceAMinute()
    {
        var log = new LogRecorder();
        var time = new Clock();
        var failures = new SetUpFailures(log.Factory.CreateLogger("failures"), time);
        IPEndPoint one = new(IPAddress.Parse("10.0.0.1"), 1), other = new(IPAddress.Parse("10.0.0.2"), 1);
        for (int i = 0; i < 5; i++)
        {
            failures.Report(one, "It has a reason.", null);
            failures.Report(other, "It has a reason.", null);
        }
        failures.Report(one, "It has another reason.", null);
        time.Now += TimeSpan.FromMinutes(1).Ticks;
        failures.Report(one, "It has a reason.", null);
        // However many addresses and reasons there are, their number is limited.
        for (int i = 0; i < 2_000; i++)
        {
            failures.Report(one, $"Reason {i}.", null);
            failures.Report(new IPEndPoint(i + (1L << 24), 1), "It has a reason.", null);
        }
        string[] said = [.. log.All.Select(static l => l.Text)];
        Assert.Equal(
            [
                "A connection from 10.0.0.1 was not set up: It has a reason.",
                "A connection from 10.0.0.2 was not set up: It has a reason.",
                "A connection from 10.0.0.1 was not set up: It has another reason.",
                "A connection from 10.0.0.1 was not set up: It has a reason. 4 more failures from this address were not logged.",
            ],
            said[..4]);
        Assert.InRange(said.Length, 1_000, 1_200);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task RandomChangesOfASetUpDoNoHarm(int seed)
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        var random = new Random(seed);
        for (int round = 0; round < 100; round++)
        {
            await using var peer = new RawPeer(listener.EndPoint);
            byte[] bytes = [.. peer.Hello, .. peer.Block];
            for (int changes = random.Next(1, 8); changes > 0; changes--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            try
            {
                await peer.SendAsync(bytes[..random.Next(1, bytes.Length + 1)]);
                peer.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            }
            catch (System.Net.Sockets.SocketException)
            {
                // The connection was refused before everything was sent.
            }
        }
        await ServesAsync(side, listener);
    }

    [Fact]
    public async Task ABlockThatIsNoneIsRefused()
    {
        var log = new LogRecorder();
        await using var side = new ConnectionSide(ConnectionSide.Host, logging: log.Factory);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        foreach (byte[] block in new[] { Changed(peer.Block, 6, 0x7F), Changed(peer.Block, 8, 0), SetUpMessages.Block(5, new RemoteMemory(0, 100, 1, RmaAccess.RemoteWrite)), SetUpMessages.Block(5, new RemoteMemory(0, 4096, 1, RmaAccess.RemoteRead)) })
        {
            log.All.Clear();
            await using var one = new RawPeer(listener.EndPoint);
            await one.SendAsync(one.Hello);
            Assert.Equal(ControlKind.Welcome, (await one.ReceiveAsync()).Kind);
            await one.SendAsync(block);
            await one.EndsAsync();
            Assert.Contains("message 'Block'", await log.SingleAsync(81), StringComparison.Ordinal);
        }
        peer.Socket.Dispose();
        await side.BecomesCleanAsync();
        await ServesAsync(side, listener);
    }

    [Fact]
    public async Task ASilentPeerIsDroppedAfterTheSetUpTimeoutAndHoldsUpNoOthers()
    {
        var log = new LogRecorder();
        await using var side = new ConnectionSide(ConnectionSide.Host, o => o.SetUpTimeout = TestTime.Seconds(1), log.Factory);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var silent = new RawPeer(listener.EndPoint);
        await ServesAsync(side, listener);
        await silent.EndsAsync();
        Assert.Contains("SetUpTimeout", await log.SingleAsync(81), StringComparison.Ordinal);
    }

    public static TheoryData<string> Lies =>
    [
        "empty run", "crooked run", "long run", "run without credit", "long frame", "frame after the end", "twice", "too early", "at the end of the ring",
        "too much credit", "unknown kind", "switch without offer", "unknown frame", "set-up again", "offer of the same", "offer of too little",
    ];

    [Theory, MemberData(nameof(Lies))]
    public async Task WhatAPeerWritesIsChecked(string lie)
    {
        var log = new LogRecorder();
        await using var side = new ConnectionSide(ConnectionSide.Host, o => o.InitialRingBytes = 4096, log.Factory);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await peer.SetUpAsync();
        await using ConnectionContext connection = (await accepting)!;
        int ring = RingBlock.RingLengthOf(4096, isFirst: true);
        switch (lie)
        {
            case "empty run":
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 0, 0));
                break;
            case "crooked run":
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 17, 0));
                break;
            case "long run":
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, ring + 16, 0));
                break;
            case "run without credit":
                await peer.WriteFrameAsync(new FrameHeader(ring - 32, FrameFlags.None, ring - 16, 0));
                await peer.WriteFrameAsync(new FrameHeader(16, FrameFlags.None, 32, 0), sequence: 1, kind: NoticeKind.DataAtStart);
                break;
            case "long frame":
                await peer.WriteFrameAsync(new FrameHeader(FrameHeader.MostPayload, FrameFlags.None, 32, 0));
                break;
            case "frame after the end":
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.EndOfStream, 16, 0));
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.EndOfStream, 16, 0), at: 16, sequence: 1);
                break;
            case "twice":
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 16, 0), sequence: 1);
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 16, 0), sequence: 1);
                break;
            case "too early":
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 16, 0), sequence: 64);
                break;
            case "at the end of the ring":
                await peer.WriteFrameAsync(new FrameHeader(ring - 16, FrameFlags.None, ring, 0));
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 16, 0), sequence: 1);
                break;
            case "too much credit":
                await peer.WriteAsync(0, BitConverter.GetBytes(1L), NoticeKind.Credit, 0);
                break;
            case "unknown kind":
                await peer.WriteAsync(0, BitConverter.GetBytes(0L), (NoticeKind)3, 0);
                break;
            case "switch without offer":
                await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.Switch, 16, 0));
                break;
            case "unknown frame":
                await peer.SendAsync([77, 0, 0]);
                break;
            case "set-up again":
                await peer.SendAsync(peer.Hello);
                break;
            case "offer of the same":
                await peer.SendAsync(ControlConnection.Frame(ControlKind.Offer, []));
                break;
            default:
                await peer.SendAsync(ControlConnection.Frame(ControlKind.Offer, new RemoteMemory(0, 64, 1, RmaAccess.RemoteWrite).ToArray()));
                break;
        }
        if (lie == "frame after the end")
        {
            // Data that arrived before is read.
            Assert.Empty(await connection.Transport.Input.ReadToEndAsync());
        }
        else
        {
            // Wait before anything is read, which would give credit.
            await log.SingleAsync(83);
            var error = await Assert.ThrowsAsync<ConnectionAbortedException>(() => connection.Transport.Input.ReadToEndAsync());
            Assert.Contains("violated the protocol", error.Message, StringComparison.Ordinal);
        }
        await connection.DisposeAsync();
        await log.SingleAsync(83);
        peer.Socket.Dispose();
        await side.BecomesCleanAsync();
        await ServesAsync(side, listener);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task APeerThatKeepsItsControlConnectionOpenKeepsNothing(bool isViolation)
    {
        // After a violation, the connection does not wait for the limit.
        TimeSpan limit = isViolation ? TimeSpan.FromMinutes(10) : TimeSpan.FromMilliseconds(200);
        await using var side = new ConnectionSide(ConnectionSide.Host, o => (o.HeartbeatInterval, o.PeerTimeout, o.CloseTimeout) = (TimeSpan.FromMilliseconds(20), limit, TimeSpan.Zero));
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await peer.SendAsync(peer.HelloWith(RawPeer.Terms with { HeartbeatInterval = TimeSpan.FromMilliseconds(20) }));
        await peer.FinishSetUpAsync();
        await using var connection = (RmaConnection)(await accepting)!;
        using var ends = new CancellationTokenSource();
        Task beats = BeatAsync();
        if (isViolation)
            await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 17, 0));
        else
            connection.Abort();
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
        await ends.CancelAsync();
        await beats;

        async Task BeatAsync()
        {
            try
            {
                while (!ends.IsCancellationRequested)
                {
                    await peer.SendAsync(ControlConnection.HeartbeatFrame);
                    await Task.Delay(10, CancellationToken.None);
                }
            }
            catch (System.Net.Sockets.SocketException)
            {
                // The connection was cut.
            }
        }
    }

    [Fact]
    public async Task APeerThatSaysNothingLosesItsPlaceToAnother()
    {
        var log = new LogRecorder();
        await using var side = new ConnectionSide(ConnectionSide.Host, static o => (o.Backlog, o.SetUpTimeout) = (1, TimeSpan.FromMinutes(10)), log.Factory);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var silent = new RawPeer(listener.EndPoint);
        await ServesAsync(side, listener).WaitAsync(TestTime.Seconds(20), TestContext.Current.CancellationToken);
        await silent.EndsAsync();
        Assert.Contains("others waited for its place", await log.SingleAsync(81), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OffersWithoutEndLeaveNothing()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await peer.SetUpAsync();
        await using var connection = (RmaConnection)(await accepting)!;
        byte[] offer = ControlConnection.Frame(ControlKind.Offer, peer.Memory.ToArray());
        try
        {
            // Each offer is accepted, or the connection is aborted because another offer is open.
            for (int i = 0; i < 20; i++)
                await peer.SendAsync([.. Enumerable.Repeat(offer, 100).SelectMany(static o => o)]);
            await peer.SendAsync(ControlConnection.AbortFrame);
        }
        catch (System.Net.Sockets.SocketException)
        {
            // The connection was aborted before everything was sent.
        }
        await Assert.ThrowsAnyAsync<Exception>(() => connection.Input.ReadToEndAsync().WaitAsync(TestTime.Seconds(20), TestContext.Current.CancellationToken));
        peer.Socket.Dispose();
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
        await ServesAsync(side, listener);
    }

    /// <summary>
    /// Gets frames of the control connection, whole or cut, with known and unknown kinds and any payload, and bytes
    /// that are not frames.
    /// </summary>
    private static Gen<byte[]> ControlBytes => Gen.OneOf(
        Gen.Byte.Array[0, 64],
        Gen.Select(Gen.Byte[0, 12], Gen.Byte.Array[0, 300], static (kind, payload) => ControlConnection.Frame((ControlKind)kind, payload)),
        Gen.Select(Gen.Byte[1, 10], Gen.UShort, Gen.Byte.Array[0, 40], static (kind, length, payload) => (byte[])[kind, (byte)length, (byte)(length >> 8), .. payload]),
        Gen.Byte[5, 10].Array[1, 30].Select(static kinds => (byte[])[.. kinds.SelectMany(static k => new byte[] { k, 0, 0 })]));

    [Fact]
    public async Task ArbitraryBytesOnTheControlConnectionDoNoHarm()
    {
        var log = new LogRecorder();
        await using var side = new ConnectionSide(ConnectionSide.Host, static o => (o.HeartbeatInterval, o.LateWrites) = (TimeSpan.FromMilliseconds(20), TimeSpan.FromMilliseconds(5)), log.Factory);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await Gen.Select(Gen.Bool, ControlBytes.Array[1, 6]).SampleAsync(async (isSetUp, parts) =>
        {
            log.All.Clear();
            // Each run has its own listener, which has logged nothing yet.
            await using RmaConnectionListener own = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
            await using var peer = new RawPeer(own.EndPoint);
            ConnectionContext? connection = null;
            if (isSetUp)
            {
                ValueTask<ConnectionContext?> accepting = own.AcceptAsync(TestContext.Current.CancellationToken);
                await peer.SetUpAsync();
                connection = await accepting;
            }
            try
            {
                foreach (byte[] part in parts)
                    await peer.SendAsync(part);
                peer.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            }
            catch (System.Net.Sockets.SocketException)
            {
                // The connection was refused before everything was sent.
            }
            // Each connection has one end, which the log names.
            if (connection is null)
            {
                await log.SingleAsync(81);
                return;
            }
            try
            {
                await connection.Transport.Input.ReadToEndAsync().WaitAsync(TestTime.Seconds(20));
            }
            catch (Exception e) when (e is ConnectionAbortedException or ConnectionResetException)
            {
                await log.SingleAsync(82);
            }
            await connection.DisposeAsync();
        }, iter: 300, threads: 1);
        await side.BecomesCleanAsync();
        await ServesAsync(side, listener);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WhatIsReadCanBeMadeSafeFromLaterWrites(bool copies)
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, o => o.CopyInput = copies);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(TestContext.Current.CancellationToken);
        await peer.SetUpAsync();
        await using ConnectionContext connection = (await accepting)!;
        byte[] frame = new byte[FrameHeader.Length + 16];
        new FrameHeader(16, FrameFlags.None, frame.Length, 0).WriteTo(frame);
        frame.AsSpan(FrameHeader.Length).Fill((byte)'a');
        await peer.WriteAsync(RingBlock.WordsLength, frame, NoticeKind.Data, 0);
        ReadResult read = await connection.Transport.Input.ReadAsync(TestContext.Current.CancellationToken);
        // The same place is written again; the frame after it shows that this is done.
        frame.AsSpan(FrameHeader.Length).Fill((byte)'b');
        await peer.WriteAsync(RingBlock.WordsLength, frame, NoticeKind.Data, 1);
        Assert.Equal(new string(copies ? 'a' : 'b', 16), Encoding.ASCII.GetString(read.Buffer));
        connection.Transport.Input.AdvanceTo(read.Buffer.End);
    }

    [Fact]
    public async Task ANotificationForAnotherOnesConnectionIsIgnored()
    {
        var log = new LogRecorder();
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, logging: log.Factory);
        await using var peer = new RawPeer(pair.EndPoint);
        await peer.SetUpAsync();
        await peer.WriteElsewhereAsync(pair.Right.Number);
        await peer.WriteElsewhereAsync(pair.Right.Number + 1000);
        await pair.Left.Output.WriteAsync("hello"u8.ToArray(), TestContext.Current.CancellationToken);
        Assert.Equal("hello", Encoding.ASCII.GetString(await pair.Right.Input.ReadBytesAsync(5)));
        await log.SingleAsync(84);
    }

    private static byte[] Changed(byte[] bytes, int at, byte value)
    {
        byte[] changed = [.. bytes];
        changed[at] = value;
        return changed;
    }

    /// <summary>Asserts that a well-behaved peer is served.</summary>
    private static async Task ServesAsync(ConnectionSide side, RmaConnectionListener listener)
    {
        await using var other = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnection left = await other.Connections.ConnectAsync(listener.EndPoint, TestContext.Current.CancellationToken);
        ConnectionContext? right;
        // Connections from fuzzed set-ups may be accepted first.
        while ((right = await listener.AcceptAsync(TestContext.Current.CancellationToken)) is RmaConnection { } accepted && accepted.PeerProcess != other.Connections.Process)
            await right.DisposeAsync();
        byte[] sent = RandomNumberGenerator.GetBytes(100_000);
        Task writing = Task.Run(async () => await left.Output.WriteAsync(sent));
        Assert.Equal(sent, await right!.Transport.Input.ReadBytesAsync(sent.Length));
        await writing;
        await left.DisposeAsync();
        await right.DisposeAsync();
        await side.BecomesCleanAsync();
    }

    private sealed class Clock : TimeProvider
    {
        public long Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now;
    }
}
