using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Time.Testing;

namespace AllocTools.Connections.Tests;

/// <summary>Tests how connections end: what their users see, and when their memory is given back.</summary>
public sealed class EndTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task AStreamMayBeDisposedWhileItIsReadAndWritten(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        var random = new Random(5);
        for (int round = 0; round < 40; round++)
        {
            (RmaConnection left, RmaConnection right) = await pair.ConnectAsync();
            byte mark = (byte)(round + 1);
            using Stream stream = left.AsStream();
            using Stream other = right.AsStream();
            Task[] calls = [WriteAsync(stream, mark), ReadAsync(stream, mark), WriteAsync(other, mark), ReadAsync(other, mark)];
            for (int turns = random.Next(0, 20_000); turns > 0; turns--)
                Thread.SpinWait(10);
            stream.Dispose();
            // Memory that the pool hands out from here on belongs to somebody else.
            if (pair.LeftSide.Pool.TryRent(16 << 10, out RmaBuffer next))
            {
                next.Span.Fill(0xEE);
                next.Dispose();
            }
            await stream.DisposeAsync();
            other.Dispose();
            await Task.WhenAll(calls).WaitAsync(TestTime.Seconds(30), Token);
            await left.DisposeAsync();
            await right.DisposeAsync();
        }
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task TheMemoryOfARunningReadIsGivenBackWhenItHasEnded()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host);
        var slow = new SlowPipe(pair.Left);
        pair.Left.Transport = slow;
        Stream stream = pair.Left.AsStream();
        await pair.Right.Output.WriteAsync(new byte[100], Token);
        Task<int> reading = stream.ReadAsync(new byte[100], Token).AsTask();
        await slow.HasRead.Task.WaitAsync(TestTime.Seconds(20), Token);
        stream.Dispose();
        Assert.False(pair.Left.Reader.IsCompleted);
        slow.GoesOn.SetResult();
        await Assert.ThrowsAsync<IOException>(() => reading);
        await stream.DisposeAsync();
        Assert.True(pair.Left.Reader.IsCompleted);
        await pair.EndCleanlyAsync();
    }

    /// <summary>Idle connections of HttpClient behave like this.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TheMemoryOfAnUndisposedStreamIsReleasedWithTheConnections(bool isReading)
    {
        await using var left = new ConnectionSide(ConnectionSide.Host);
        await using var right = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        Stream stream = (await left.Connections.ConnectAsync(listener.EndPoint, Token)).AsStream();
        await using var accepted = (RmaConnection)(await listener.AcceptAsync(Token))!;
        Task reading = isReading ? stream.ReadAsync(new byte[1], Token).AsTask() : Task.CompletedTask;
        await left.Connections.DisposeAsync();
        Assert.Equal(isReading, await Record.ExceptionAsync(() => reading) is IOException);
        await left.BecomesCleanAsync();
        await accepted.DisposeAsync();
        await right.BecomesCleanAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task OfAnAbortedConnectionAStreamThrowsIOException(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        await using Stream stream = pair.Left.AsStream();
        Task<int> reading = stream.ReadAsync(new byte[1], Token).AsTask();
        pair.Left.Abort(new ConnectionAbortedException("enough"));
        Assert.Equal("enough", (await Assert.ThrowsAsync<IOException>(() => reading)).Message);
        await Assert.ThrowsAsync<IOException>(() => stream.ReadAsync(new byte[1], Token).AsTask());
        Assert.Throws<IOException>(() => stream.Read(new byte[1], 0, 1));
        await stream.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => stream.ReadAsync(new byte[1], Token).AsTask());
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task AStreamCanBeReadAndWrittenWithoutAwaiting()
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host);
        await using Stream left = pair.Left.AsStream(), right = pair.Right.AsStream();
        Task<int> reading = Task.Run(() => left.Read(new byte[10], 0, 10), Token);
        while (pair.Left.Reader.Position == 0 && !reading.IsCompleted)
        {
            right.Write([1, 2, 3], 0, 3);
            right.Flush();
            await Task.Yield();
        }
        Assert.InRange(await reading, 3, 10);
    }

    [Fact]
    public async Task ACallbackOfConnectionClosedThatThrowsIsLogged()
    {
        var log = new LogRecorder();
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, logging: log.Factory);
        await using CancellationTokenRegistration callback = pair.Left.ConnectionClosed.Register(static () => throw new InvalidOperationException("the test's"));
        pair.Right.Abort();
        Assert.Contains("ConnectionClosed threw an exception", await log.SingleAsync(88), StringComparison.Ordinal);
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ConnectionClosedIsCancelledOnceDisposeHasReturned(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        // The peer stops reading and writing, without ending its stream.
        Task disposing = pair.Left.DisposeAsync().AsTask();
        await disposing;
        Assert.True(pair.Left.ConnectionClosed.IsCancellationRequested);
        await pair.EndCleanlyAsync();
    }

    [Fact]
    public async Task AReaderThatIsSlowGetsAllThoughItsPeerHasDisposedLongAgo()
    {
        var time = new FakeTimeProvider();
        TimeSpan limit = TimeSpan.FromSeconds(1);
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(
            ConnectionSide.Host, o => (o.InitialRingBytes, o.MaxRingBytes, o.CloseTimeout, o.PeerTimeout) = (1024, 1024, limit, TimeSpan.FromHours(1)), time: time);
        byte[] sent = RandomNumberGenerator.GetBytes(6_000);
        await pair.Left.Output.WriteAsync(sent, Token);
        Task disposing = pair.Left.DisposeAsync().AsTask();
        var received = new MemoryStream();
        TimeSpan passed = TimeSpan.Zero;
        long credit = 0;
        while (received.Length < sent.Length)
        {
            received.Write(await pair.Right.Input.ReadSomeAsync());
            if (pair.Left.Credit == credit)
                continue;
            // Each piece that was read takes most of the limit, and all together more than the limit.
            credit = pair.Left.Credit;
            time.Advance(limit * 0.6);
            passed += limit * 0.6;
        }
        Assert.True(passed > limit);
        Assert.Equal(sent, received.ToArray());
        await disposing.WaitAsync(TestTime.Seconds(20), Token);
        Assert.Null(pair.Left.Error);
        await pair.Right.DisposeAsync();
        await pair.LeftSide.BecomesCleanAsync();
        await pair.RightSide.BecomesCleanAsync();
    }

    [Fact]
    public async Task APeerThatIsDoneWithoutTheEndOfItsStreamIsAnError()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, static o => o.HeartbeatInterval = TimeSpan.FromMilliseconds(20));
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(Token);
        await peer.SetUpAsync();
        await using ConnectionContext connection = (await accepting)!;
        Task<byte[]> reading = connection.Transport.Input.ReadToEndAsync();
        await peer.SendAsync(ControlConnection.DoneFrame);
        peer.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
        var error = await Assert.ThrowsAsync<ConnectionResetException>(() => reading.WaitAsync(TestTime.Seconds(20), Token));
        Assert.Contains("without completing its stream", error.Message, StringComparison.Ordinal);
        Assert.True(connection.ConnectionClosed.IsCancellationRequested);
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task AWriteThatWaitsForRoomEndsOnceThePeerIsDone()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(Token);
        await peer.SetUpAsync();
        await using var connection = (RmaConnection)(await accepting)!;
        // More than the peer's ring, for which it gives no credit.
        Task<FlushResult> writing = Task.Run(async () => await connection.Output.WriteAsync(new byte[1 << 20]), Token);
        await peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.EndOfStream, 16, 0));
        await peer.SendAsync(ControlConnection.DoneFrame);
        Assert.True((await writing.WaitAsync(TestTime.Seconds(20), Token)).IsCompleted);
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task AfterAnAbandonedWriteThePeerIsNotNotifiedOfTheEnd()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(Token);
        await peer.SetUpAsync();
        var connection = (RmaConnection)(await accepting)!;
        // The engine reports this for a write that has timed out while the fabric has it.
        ((IOperationOwner)connection.Reader.CreditWriter).OnAbandoned(0, new RmaTimeoutException("the test's", RmaOperationKind.Write, 110, "ETIMEDOUT"));
        await connection.DisposeAsync();
        List<ControlKind> said = [];
        while (await peer.TryReceiveAsync() is { } frame)
            said.Add(frame.Kind);
        Assert.Contains(ControlKind.Abort, said);
        Assert.DoesNotContain(ControlKind.Done, said);
        peer.Socket.Dispose();
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task WhereTheControlConnectionIsCutTheMemoryIsKeptForWritesThatAreUnderWay()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host, static o => o.LateWrites = TimeSpan.FromMinutes(10));
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(Token);
        await peer.SetUpAsync();
        ConnectionContext connection = (await accepting)!;
        peer.Socket.Dispose();
        await Assert.ThrowsAsync<ConnectionResetException>(() => connection.Transport.Input.ReadToEndAsync());
        await connection.DisposeAsync();
        Assert.Equal((0, 1), side.Pool.GetStatistics() is var now ? (now.RentedBuffers, now.QuarantinedBuffers) : default);
        // The exposure has ended.
        await Assert.ThrowsAnyAsync<RmaException>(() => peer.WriteFrameAsync(new FrameHeader(0, FrameFlags.None, 16, 0)));
        Assert.Equal(1, side.Connections.Count);
        // Without the endpoint, no write can arrive any more.
        await side.Connections.DisposeAsync();
        Assert.Equal((0, 0), side.Pool.GetStatistics() is var then ? (then.RentedBuffers, then.QuarantinedBuffers) : default);
    }

    [Fact]
    public async Task AListenerWhoseUnbindWasCancelledAcceptsNoMore()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        Task<ConnectionContext?> accepting = listener.AcceptAsync(Token).AsTask();
        try
        {
            await listener.UnbindAsync(new CancellationToken(canceled: true));
        }
        catch (OperationCanceledException)
        {
            // The listener had not stopped yet.
        }
        Assert.Null(await accepting.WaitAsync(TestTime.Seconds(20), Token));
    }

    [Fact]
    public async Task AConnectingSideLearnsWhyItsBlockIsRefused()
    {
        await using var side = new ConnectionSide(ConnectionSide.Host);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        await peer.SendAsync(peer.Hello);
        Assert.Equal(ControlKind.Welcome, (await peer.ReceiveAsync()).Kind);
        await peer.SendAsync(SetUpMessages.Block(5, new RemoteMemory(0, 100, 1, RmaAccess.RemoteWrite)));
        (ControlKind kind, byte[] payload) = await peer.ReceiveAsync();
        Assert.Equal(ControlKind.Refused, kind);
        Assert.Contains("describes 100 bytes", SetUpMessages.ReadRefusal(payload), StringComparison.Ordinal);
        // Nothing else is sent, such as Done for a connection that never began.
        Assert.Null(await peer.TryReceiveAsync());
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task WhatAPeerWritesSaysThatItIsAlive()
    {
        var time = new FakeTimeProvider();
        TimeSpan limit = TimeSpan.FromSeconds(10);
        await using var side = new ConnectionSide(ConnectionSide.Host, o => (o.HeartbeatInterval, o.PeerTimeout) = (TimeSpan.FromSeconds(1), limit), time: time);
        await using RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        await using var peer = new RawPeer(listener.EndPoint);
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(Token);
        await peer.SetUpAsync();
        await using var connection = (RmaConnection)(await accepting)!;
        // No heartbeat arrives, but data does.
        for (int i = 0; i < 10; i++)
        {
            await peer.WriteFrameAsync(new FrameHeader(16, FrameFlags.None, 32, 0), sequence: i, at: i * 32);
            Assert.Equal(16, (await connection.Input.ReadBytesAsync(16)).Length);
            time.Advance(limit / 2);
        }
        Assert.Null(connection.Error);
        time.Advance(limit * 2);
        var error = await Assert.ThrowsAsync<ConnectionResetException>(() => connection.Input.ReadToEndAsync().WaitAsync(TestTime.Seconds(20), Token));
        Assert.Contains("PeerTimeout", error.Message, StringComparison.Ordinal);
        peer.Socket.Dispose();
        await connection.DisposeAsync();
        await side.BecomesCleanAsync();
    }

    [Fact]
    public async Task AStepOfTheEndThatFailsIsLoggedAndKeepsNoOtherFromBeingTaken()
    {
        var log = new LogRecorder();
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(ConnectionSide.Host, logging: log.Factory);
        // This prevents the connection from removing the peer.
        pair.LeftSide.Connections.Endpoint.RemovePeer(pair.Left.Peer);
        await pair.Left.DisposeAsync();
        Assert.Contains("could not be released", await log.SingleAsync(89), StringComparison.Ordinal);
        await pair.LeftSide.BecomesCleanAsync();
        Assert.True(pair.Left.WholeEnd.IsCompletedSuccessfully);
    }

    [Fact]
    public async Task AListenerThatCannotAcceptSaysSoAndEndsInOrder()
    {
        var log = new LogRecorder();
        await using var side = new ConnectionSide(ConnectionSide.Host, logging: log.Factory);
        RmaConnectionListener listener = side.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(Token);
        // It no longer listens, without having been closed: each accept fails.
        SocketOf(listener).Shutdown(System.Net.Sockets.SocketShutdown.Both);
        using var limit = new CancellationTokenSource(TestTime.Seconds(20));
        while (log.All.Count(static l => l.Id == 86) < 2)
            await Task.Delay(10, limit.Token);
        Assert.Equal(1, side.Connections.ListenersInTrouble);
        await listener.DisposeAsync();
        Assert.Null(await accepting);
        Assert.Equal(0, side.Connections.ListenersInTrouble);
    }

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_socket")]
    private static extern ref System.Net.Sockets.Socket SocketOf(RmaConnectionListener listener);

    private static async Task WriteAsync(Stream stream, byte mark)
    {
        byte[] bytes = new byte[30_000];
        bytes.AsSpan().Fill(mark);
        try
        {
            while (true)
                await stream.WriteAsync(bytes).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // This is the expected end.
        }
    }

    private static async Task ReadAsync(Stream stream, byte mark)
    {
        byte[] bytes = new byte[7_000];
        try
        {
            while (await stream.ReadAsync(bytes).ConfigureAwait(false) is > 0 and int read)
                Assert.Equal(-1, bytes.AsSpan(0, read).IndexOfAnyExcept(mark));
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // This is the expected end.
        }
    }

    /// <summary>A pipe whose read has its bytes, but takes a long time to return them.</summary>
    private sealed class SlowPipe(IDuplexPipe pipe) : PipeReader, IDuplexPipe
    {
        public TaskCompletionSource HasRead { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource GoesOn { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        private readonly PipeReader _input = ((RmaConnection)pipe).Input;

        public PipeReader Input => this;

        public PipeWriter Output => ((RmaConnection)pipe).Output;

        public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
        {
            ReadResult result = await _input.ReadAsync(cancellationToken);
            HasRead.TrySetResult();
            await GoesOn.Task;
            return result;
        }

        public override bool TryRead(out ReadResult result) => _input.TryRead(out result);

        public override void AdvanceTo(SequencePosition consumed) => _input.AdvanceTo(consumed);

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => _input.AdvanceTo(consumed, examined);

        public override void CancelPendingRead() => _input.CancelPendingRead();

        public override void Complete(Exception? exception = null) => _input.Complete(exception);
    }
}
