using AllocTools.Endpoints;
using AllocTools.Endpoints.Integrity;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Tests messages on each transport: their order, lengths and senders, and messages that don't fit.</summary>
public abstract class MessageConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    private const int TruncatedMessage = 265;

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task MessagesArriveInOrderWithTheirLengths(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer receive = pair.Right.Pool.Rent(4096);
        using RmaBuffer send = pair.Left.Pool.Rent(4096);
        for (int i = 1; i <= 20; i++)
        {
            send.Span[..i].Fill((byte)i);
            ValueTask<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(receive, cancellationToken: Token);
            await pair.Left.Endpoint.SendAsync(send.Slice(0, i), pair.Left.Peer, cancellationToken: Token);
            Assert.Equal(i, (await receiving).Length);
            Assert.False(receive.Span[..i].ContainsAnyExcept((byte)i));
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task CheckedMessagesArriveAndOthersAreReported(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer receive = pair.Right.Pool.Rent(128);
        using RmaBuffer send = pair.Left.Pool.Rent(128);
        send.Span.Fill(5);
        foreach (int length in new[] { 0, 1, 100 })
        {
            Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveCheckedAsync(receive, RmaIntegrity.XxHash3, cancellationToken: Token).AsTask();
            await pair.Left.Endpoint.SendCheckedAsync(send.Slice(0, length + RmaCheckedExtensions.TrailerLength), pair.Left.Peer, RmaIntegrity.XxHash3, cancellationToken: Token);
            Assert.Equal(length, (await receiving).Length);
            Assert.Equal(send.Span[..length], receive.Span[..length]);
        }
        Task<RmaReceiveResult> other = pair.Right.Endpoint.ReceiveCheckedAsync(receive, RmaIntegrity.XxHash3, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendCheckedAsync(send, pair.Left.Peer, RmaIntegrity.Crc32C, cancellationToken: Token);
        await Assert.ThrowsAsync<RmaIntegrityException>(() => other);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AMessageMeetsItsReceiveWhicheverIsFirst(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer send = pair.Right.Pool.Rent(100);
        using RmaBuffer receive = pair.Left.Pool.Rent(100);
        send.Span.Fill(7);
        receive.Span.Clear();
        Task sending = pair.Right.Endpoint.SendAsync(send.Slice(0, 5), pair.Right.Peer, cancellationToken: Token).AsTask();
        Assert.Equal(5, (await pair.Left.Endpoint.ReceiveAsync(receive, cancellationToken: Token)).Length);
        await sending;
        Assert.False(receive.GetSpan(0, 5).ContainsAnyExcept((byte)7));
        Assert.False(receive.GetSpan(5, 95).ContainsAnyExcept((byte)0));
        Task<RmaReceiveResult> receiving = pair.Left.Endpoint.ReceiveAsync(receive, cancellationToken: Token).AsTask();
        await pair.Right.Endpoint.SendAsync(send.Slice(0, 0), pair.Right.Peer, cancellationToken: Token);
        Assert.Equal(0, (await receiving).Length);
    }

    /// <summary>A message's sender is reported if the transport knows it and it is inserted; otherwise none is.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AReceiveSaysWhichPeerHasSentItsMessage(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        await using var others = new ConformingPair<TTransport>(mode);
        IRmaEndpoint here = pair.Right.Endpoint;
        RmaPeer other = here.InsertPeer(others.Left.Endpoint.Address.Span);
        // The receiver knows the first sender, from the beginning, and the second; not the third.
        (ConformingSide Side, RmaPeer To, RmaPeer? Peer)[] senders =
        [
            (pair.Left, pair.Left.Peer, pair.Right.Peer),
            (others.Left, others.Left.Endpoint.InsertPeer(here.Address.Span), other),
            (others.Right, others.Right.Endpoint.InsertPeer(here.Address.Span), null),
        ];
        using RmaBuffer received = pair.Right.Pool.Rent(16);
        for (int round = 0; round < 3; round++)
        {
            foreach ((ConformingSide side, RmaPeer to, RmaPeer? peer) in senders)
            {
                using RmaBuffer message = side.Pool.Rent(16);
                Task<RmaReceiveResult> receiving = here.ReceiveAsync(received, cancellationToken: Token).AsTask();
                await side.Endpoint.SendAsync(message, to, cancellationToken: Token);
                pair.AssertSender(peer?.Handle, (await receiving).Sender?.Handle);

                Assert.True(here.TryPost(RmaOperation.Receive(received)));
                await side.Endpoint.SendAsync(message, to, cancellationToken: Token);
                pair.AssertSender(peer?.Handle, (await TakeAsync(here)).Sender);
            }
        }
        here.RemovePeer(other);
        using RmaBuffer last = others.Left.Pool.Rent(16);
        Task<RmaReceiveResult> ofRemoved = here.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await others.Left.Endpoint.SendAsync(last, senders[1].To, cancellationToken: Token);
        Assert.Null((await ofRemoved).Sender);
    }

    /// <summary>
    /// The protocol depends on a message's length; whether the receive is posted already depends on which side is
    /// first.
    /// </summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AMessageLongerThanItsReceiveFailsThatReceiveAndNothingElse(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer small = pair.Right.Pool.Rent(16);
        using RmaBuffer room = pair.Right.Pool.Rent(64);
        using RmaBuffer source = pair.Left.Pool.Rent(200_000);
        source.Span.Fill(7);
        foreach (int length in new[] { 17, 4_000, 8_192, 200_000 })
        {
            if (length > pair.Traits.MaxMessageSize)
                continue;
            foreach (bool isPostedFirst in new[] { true, false })
            {
                Task<RmaReceiveResult> receive = null!;
                if (isPostedFirst)
                    receive = pair.Right.Endpoint.ReceiveAsync(small, cancellationToken: Token).AsTask();
                Task send = pair.Left.Endpoint.SendAsync(source.Slice(0, length), pair.Left.Peer, cancellationToken: Token).AsTask();
                if (!isPostedFirst)
                    receive = pair.Right.Endpoint.ReceiveAsync(small, cancellationToken: Token).AsTask();
                RmaMessageTruncatedException error = await Assert.ThrowsAsync<RmaMessageTruncatedException>(() => receive);
                await send;
                Assert.Equal(TruncatedMessage, error.ErrorCode);
                Assert.Equal(RmaOperationKind.Receive, error.Kind);
                Assert.Equal(16, error.Room);
                Assert.Equal(length, error.MessageLength);
                Assert.Contains(pair.Traits.ProviderName, error.Message, StringComparison.Ordinal);

                // The connection still works, and so do later messages.
                for (int i = 0; i < 3; i++)
                {
                    Task<RmaReceiveResult> next = pair.Right.Endpoint.ReceiveAsync(room, cancellationToken: Token).AsTask();
                    await pair.Left.Endpoint.SendAsync(source.Slice(0, 40 + i), pair.Left.Peer, cancellationToken: Token);
                    Assert.Equal(40 + i, (await next).Length);
                    Assert.False(room.GetSpan(0, 40 + i).ContainsAnyExcept((byte)7));
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task APostedReceiveReportsTheLengthThatDidNotFit(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer small = pair.Right.Pool.Rent(16);
        using RmaBuffer source = pair.Left.Pool.Rent(100);
        Assert.True(pair.Right.Endpoint.TryPost(RmaOperation.Receive(small, context: 9)));
        await pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: Token);
        RmaCompletion completion = await TakeAsync(pair.Right.Endpoint);
        Assert.Equal(new RmaCompletion(9, RmaOperationKind.Receive, 100, TruncatedMessage), completion with { Sender = null });
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AMessageOverTheLimitOfEitherSideIsRefusedWhereItIsSent(string mode)
    {
        int sides = 0;
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxMessageLength = sides++ == 0 ? 1_000 : 100);
        using RmaBuffer source = pair.Left.Pool.Rent(1_001);
        using RmaBuffer large = pair.Right.Pool.Rent(101);
        AssertRefused(pair.Left, source.Slice(0, 101), "longer than the peer takes, 100 bytes");
        AssertRefused(pair.Right, large, "Endpoint:MaxMessageLength, 100 bytes");

        // A receive may be longer, and so may an RMA transfer.
        using RmaBuffer room = pair.Right.Pool.Rent(2_000);
        Task<RmaReceiveResult> receive = pair.Right.Endpoint.ReceiveAsync(room, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(source.Slice(0, 100), pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(100, (await receive).Length);
        using RmaExposure exposure = room.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        await pair.Left.Endpoint.WriteAsync(source, remote, cancellationToken: Token);

        static void AssertRefused(ConformingSide side, RmaSlice message, string reason)
        {
            ArgumentException error = Assert.ThrowsAny<ArgumentException>(() => { _ = side.Endpoint.SendAsync(message, side.Peer, cancellationToken: Token).AsTask(); });
            Assert.Contains(reason, error.Message, StringComparison.Ordinal);
            Assert.ThrowsAny<ArgumentException>(() => side.Endpoint.TryPost(RmaOperation.Send(message, side.Peer)));
        }
    }

    private static async Task<RmaCompletion> TakeAsync(IRmaEndpoint endpoint)
    {
        var completions = new RmaCompletion[1];
        while (endpoint.Poll(completions) == 0)
            await Task.Yield();
        return completions[0];
    }
}
