using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Tests on each transport the loop that receives into buffers of a pool.</summary>
public abstract class ReceiveLoopConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task EachMessageComesInItsOwnBufferInOrder(string mode)
    {
        const int Count = 200;
        await using var pair = new ConformingPair<TTransport>(mode);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        Task sending = SendAsync(pair.Left, Enumerable.Range(0, Count).Select(i => 4 + (i % 60)));
        Queue<RmaMessage> kept = [];
        int received = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (RmaMessage message in pair.Right.Endpoint.ReceiveAllAsync(pair.Right.Pool, 64, posted: 4, stop.Token))
            {
                Assert.Equal(4 + (received % 60), message.Length);
                pair.AssertSender(pair.Right.Peer.Handle, message.Sender?.Handle);
                // The messages are looked at later, after others have arrived.
                kept.Enqueue(message);
                if (++received == Count)
                    await stop.CancelAsync();
            }
        });
        await sending;
        for (int i = 0; i < Count; i++)
        {
            using RmaMessage message = kept.Dequeue();
            Assert.Equal(i, BitConverter.ToInt32(message.Span));
            Assert.True(message.Memory.Span.SequenceEqual(message.Buffer.GetSpan(0, message.Length)));
        }
        pair.Left.AssertAllComeBack();
        pair.Right.AssertAllComeBack();
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AMessageThatIsTooLongIsReportedInItsPlaceAndTheOthersCome(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        int[] lengths = [8, 100, 16, 65, 64];
        Task sending = SendAsync(pair.Left, lengths);
        List<long> received = [];
        await foreach (RmaMessage message in pair.Right.Endpoint.ReceiveAllAsync(pair.Right.Pool, 64, cancellationToken: Token))
        {
            using (message)
            {
                if (message.IsTruncated)
                {
                    Assert.Same(message.Truncation, Assert.Throws<RmaMessageTruncatedException>(() => message.Length));
                    Assert.Throws<RmaMessageTruncatedException>(() => message.Span.Length);
                    Assert.Throws<RmaMessageTruncatedException>(() => message.Memory.Length);
                    Assert.Equal((long?)lengths[received.Count], message.Truncation.MessageLength);
                }
                received.Add(message.IsTruncated ? -1 : message.Length);
            }
            if (received.Count == lengths.Length)
                break;
        }
        await sending;
        Assert.Equal([8, -1, 16, -1, 64], received);
        pair.Right.AssertAllComeBack();
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task TheGivenNumberIsPostedAndTheLoopEndsWithTheEndpoint(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        await using IAsyncEnumerator<RmaMessage> loop = pair.Right.Endpoint.ReceiveAllAsync(pair.Right.Pool, 64, posted: 3, Token).GetAsyncEnumerator(Token);
        Task<bool> first = loop.MoveNextAsync().AsTask();
        await SendAsync(pair.Left, [4]);
        Assert.True(await first);
        await AssertRunningAsync(pair.Right, 2);
        loop.Current.Dispose();
        Task<bool> next = loop.MoveNextAsync().AsTask();
        await AssertRunningAsync(pair.Right, 3);
        await pair.Right.Endpoint.DisposeAsync();
        Assert.False(await next);
        pair.Right.AssertAllComeBack();
    }

    /// <summary>Messages received by the time of the cancellation are handed out before the exception is thrown.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatHasArrivedIsHandedOutBeforeTheCancellation(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        await using IAsyncEnumerator<RmaMessage> loop = pair.Right.Endpoint.ReceiveAllAsync(pair.Right.Pool, 64, posted: 4, stop.Token).GetAsyncEnumerator(Token);
        Task<bool> first = loop.MoveNextAsync().AsTask();
        await SendAsync(pair.Left, [4, 5, 6]);
        Assert.True(await first);
        await AssertRunningAsync(pair.Right, 1);
        await stop.CancelAsync();
        List<long> lengths = [];
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            do
            {
                lengths.Add(loop.Current.Length);
                loop.Current.Dispose();
            }
            while (await loop.MoveNextAsync());
        });
        Assert.Equal([4, 5, 6], lengths);
        pair.Right.AssertAllComeBack();
    }

    /// <summary>The caller holds all that the pool may register; the loop continues with what is returned.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task APoolWithoutRoomPostsFewerReceivesUntilBuffersComeBack(string mode)
    {
        const int Block = 65536;
        await using var pair = new ConformingPair<TTransport>(mode, null, o =>
        {
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
            o.MaxSlabBytes = Block;
            o.MaxRegisteredBytes = 4 * Block;
        });
        Task sending = SendAsync(pair.Left, Enumerable.Repeat(4, 20));
        Queue<RmaMessage> held = [];
        int received = 0;
        await foreach (RmaMessage message in pair.Right.Endpoint.ReceiveAllAsync(pair.Right.Pool, Block, posted: 8, Token))
        {
            Assert.Equal(received, BitConverter.ToInt32(message.Span));
            held.Enqueue(message);
            if (held.Count == 3)
                held.Dequeue().Dispose();
            if (++received == 20)
                break;
        }
        await sending;
        foreach (RmaMessage message in held)
            message.Dispose();
        pair.Right.AssertAllComeBack();
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatCantBeDoneIsRefusedAtOnce(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        Assert.Equal("posted", Assert.Throws<ArgumentOutOfRangeException>(() => pair.Left.Endpoint.ReceiveAllAsync(pair.Left.Pool, 64, posted: 0, Token)).ParamName);
        Assert.Equal("bufferLength", Assert.Throws<ArgumentOutOfRangeException>(() => pair.Left.Endpoint.ReceiveAllAsync(pair.Left.Pool, 0, cancellationToken: Token)).ParamName);
        Assert.Equal("pool", Assert.Throws<ArgumentNullException>(() => pair.Left.Endpoint.ReceiveAllAsync(null!, 64, cancellationToken: Token)).ParamName);
    }

    /// <summary>Asserts the number of running operations, allowing a moment until a slot is free again.</summary>
    private static async Task AssertRunningAsync(ConformingSide side, int count)
    {
        DateTime limit = DateTime.UtcNow + TestTime.Seconds(30);
        while (side.Endpoint.GetStatistics().Running != count && DateTime.UtcNow < limit)
            await Task.Yield();
        Assert.Equal(count, side.Endpoint.GetStatistics().Running);
    }

    /// <summary>Sends messages of the given lengths, each with its number.</summary>
    private static async Task SendAsync(ConformingSide side, IEnumerable<int> lengths)
    {
        int i = 0;
        foreach (int length in lengths)
        {
            using RmaBuffer buffer = side.Pool.Rent(length);
            BitConverter.TryWriteBytes(buffer.Span, i++);
            await side.Endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token);
        }
    }
}
