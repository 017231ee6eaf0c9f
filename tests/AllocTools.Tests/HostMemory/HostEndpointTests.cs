using System.Security.Cryptography;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.HostMemory;

public sealed class HostEndpointTests : IAsyncDisposable
{
    private readonly TestPool _left = new(o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
    private readonly TestPool _right = new(o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
    private readonly IRmaEndpoint _here;
    private readonly IRmaEndpoint _there;
    private readonly RmaPeer _peer;

    public HostEndpointTests()
    {
        _here = _left.Context.OpenEndpoint();
        _there = _right.Context.OpenEndpoint();
        _peer = _here.InsertPeer(_there.Address.Span);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _here.DisposeAsync();
        await _there.DisposeAsync();
        await _left.DisposeAsync();
        await _right.DisposeAsync();
    }

    [Fact]
    public async Task WritesAndReadsReachTheExposedBytesOnly()
    {
        using RmaBuffer target = _right.Pool.Rent(1000);
        target.Span.Fill(1);
        using RmaExposure exposure = target.Expose(100, 500, RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion remote = _here.Import(_peer, RemoteMemory.Read(exposure.Remote.ToArray()));
        using RmaBuffer source = _left.Pool.Rent(500);
        RandomNumberGenerator.Fill(source.Span);
        await _here.WriteAsync(source, remote, cancellationToken: Token);
        Assert.True(target.GetSpan(100, 500).SequenceEqual(source.Span));
        Assert.False(target.GetSpan(0, 100).ContainsAnyExcept((byte)1));
        using RmaBuffer back = _left.Pool.Rent(77);
        await _here.ReadAsync(back, remote.Slice(400, 77), cancellationToken: Token);
        Assert.True(back.Span.SequenceEqual(source.GetSpan(400, 77)));
    }

    [Fact]
    public async Task APeerThatWasInsertedTwiceStaysUntilItIsRemovedTwice()
    {
        Assert.Equal(_peer, _here.InsertPeer(_there.Address.Span));
        _here.RemovePeer(_peer);
        using RmaBuffer message = _left.Pool.Rent(10);
        using RmaBuffer received = _right.Pool.Rent(10);
        Task<RmaReceiveResult> receiving = _there.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await _here.SendAsync(message, _peer, cancellationToken: Token);
        Assert.Equal(10, (await receiving).Length);
        _here.RemovePeer(_peer);
        Assert.Throws<ArgumentException>(() => _here.RemovePeer(_peer));
        await Assert.ThrowsAsync<ArgumentException>(() => _here.SendAsync(message, _peer, cancellationToken: Token).AsTask());
        Assert.NotEqual(_peer, _here.InsertPeer(_there.Address.Span));
    }

    [Fact]
    public void WhatWasSentToAPeerThatIsRemovedEndsWithTheEndpoint()
    {
        RmaBuffer message = _left.Pool.Rent(10);
        Assert.True(_here.TryPost(RmaOperation.Send(message, _peer)));
        _here.RemovePeer(_peer);
        Assert.Throws<InvalidOperationException>(message.Return);
        _here.Dispose();
        message.Dispose();
    }

    [Fact]
    public async Task WhatIsSentFromOrReceivedIntoABufferThatWasDisposedMeanwhileIsDelivered()
    {
        RmaBuffer sent = _left.Pool.Rent(10);
        sent.Span.Fill(7);
        Task sending = _here.SendAsync(sent, _peer, cancellationToken: Token).AsTask();
        sent.Dispose();
        using (RmaBuffer next = _left.Pool.Rent(10))
        using (RmaBuffer received = _right.Pool.Rent(10))
        {
            next.Span.Clear();
            Assert.Equal(10, (await _there.ReceiveAsync(received, cancellationToken: Token)).Length);
            Assert.False(received.Span.ContainsAnyExcept((byte)7));
        }
        await sending;
        RmaBuffer inbox = _right.Pool.Rent(10);
        Task<RmaReceiveResult> receiving = _there.ReceiveAsync(inbox, cancellationToken: Token).AsTask();
        inbox.Dispose();
        using (RmaBuffer next = _right.Pool.Rent(10))
        using (RmaBuffer message = _left.Pool.Rent(10))
        {
            next.Span.Clear();
            message.Span.Fill(9);
            await _here.SendAsync(message, _peer, cancellationToken: Token);
            Assert.Equal(10, (await receiving).Length);
            Assert.False(next.Span.ContainsAnyExcept((byte)0));
        }
        Assert.Equal((0, 0), (_left.Pool.GetStatistics().QuarantinedBuffers, _right.Pool.GetStatistics().QuarantinedBuffers));
    }

    [Fact]
    public void MemoryOfARemovedPeerOrThatIsDisposedIsRefused()
    {
        using RmaBuffer target = _right.Pool.Rent(100);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RmaBuffer source = _left.Pool.Rent(100);
        RemoteRegion disposed = _here.Import(_peer, exposure.Remote);
        disposed.Dispose();
        Assert.Throws<ObjectDisposedException>(() => { _ = _here.WriteAsync(source, disposed, cancellationToken: Token).AsTask(); });
        using RemoteRegion removed = _here.Import(_peer, exposure.Remote);
        _here.RemovePeer(_peer);
        Assert.Throws<ArgumentException>(() => { _ = _here.WriteAsync(source, removed, cancellationToken: Token).AsTask(); });
        Assert.Throws<ArgumentException>(() => _here.Import(_peer, default));
    }

    [Fact]
    public async Task WhatARegistrationDoesNotGrantChangesNoByte()
    {
        await using var readOnly = new TestPool(o => o.Access = RmaAccess.RemoteRead);
        await using IRmaEndpoint owner = readOnly.Context.OpenEndpoint();
        RmaPeer peer = _here.InsertPeer(owner.Address.Span);
        using RmaBuffer target = readOnly.Pool.Rent(1000);
        target.Span.Fill(1);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead);
        using RmaBuffer source = _left.Pool.Rent(1000);
        source.Span.Fill(2);
        RemoteMemory granted = exposure.Remote;
        RemoteMemory[] forged =
        [
            new(granted.Address, 1000, granted.Key, RmaAccess.RemoteWrite),
            new(granted.Address, 1000, granted.Key + 1, RmaAccess.RemoteWrite),
            new(granted.Address + (1UL << 40), 1000, granted.Key, RmaAccess.RemoteWrite),
            new(ulong.MaxValue - 1000, 1000, granted.Key, RmaAccess.RemoteWrite),
        ];
        foreach (RemoteMemory memory in forged)
        {
            using RemoteRegion remote = _here.Import(peer, memory);
            RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(() => _here.WriteAsync(source, remote, cancellationToken: Token).AsTask());
            Assert.Equal("EACCES", error.ErrorName);
        }
        Assert.False(target.Span.ContainsAnyExcept((byte)1));
        using RemoteRegion honest = _here.Import(peer, granted);
        Assert.Throws<InvalidOperationException>(() => { _ = _here.WriteAsync(source, honest, cancellationToken: Token).AsTask(); });
    }

    [Fact]
    public async Task MessagesMeetInOrderWhicheverSideIsFirst()
    {
        RmaPeer back = _there.InsertPeer(_here.Address.Span);
        using RmaBuffer send = _right.Pool.Rent(100);
        using RmaBuffer receive = _left.Pool.Rent(100);
        send.Span.Fill(7);
        Task sending = _there.SendAsync(send.Slice(0, 5), back, cancellationToken: Token).AsTask();
        Assert.False(sending.IsCompleted);
        Assert.Equal(5, (await _here.ReceiveAsync(receive, cancellationToken: Token)).Length);
        await sending;
        Task<RmaReceiveResult> receiving = _here.ReceiveAsync(receive, cancellationToken: Token).AsTask();
        await _there.SendAsync(send.Slice(0, 0), back, cancellationToken: Token);
        Assert.Equal(0, (await receiving).Length);
        Assert.False(receive.Span[..5].ContainsAnyExcept((byte)7));
    }

    [Fact]
    public async Task TimeOutsAndCancellingFreeTheBufferAtOnce()
    {
        RmaBuffer buffer = _left.Pool.Rent(100);
        await Assert.ThrowsAsync<RmaTimeoutException>(() => _here.ReceiveAsync(buffer, TimeSpan.FromMilliseconds(10), Token).AsTask());
        using var cancel = new CancellationTokenSource();
        Task send = _here.SendAsync(buffer, _peer, cancellationToken: cancel.Token).AsTask();
        Assert.Throws<InvalidOperationException>(buffer.Return);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => send);
        buffer.Dispose();
        Assert.Equal(0, _left.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task ClosingEitherSideEndsWhatWaits()
    {
        using RmaBuffer buffer = _left.Pool.Rent(100);
        Task send = _here.SendAsync(buffer, _peer, cancellationToken: Token).AsTask();
        Task<RmaReceiveResult> receive = _here.ReceiveAsync(buffer, cancellationToken: Token).AsTask();
        await _there.DisposeAsync();
        Assert.Equal("ECONNRESET", (await Assert.ThrowsAsync<RmaPeerLostException>(() => send)).ErrorName);
        await _here.DisposeAsync();
        Assert.Equal("ECANCELED", (await Assert.ThrowsAsync<RmaOperationException>(() => receive)).ErrorName);
    }

    [Fact]
    public void PostedOperationsCompleteByPolling()
    {
        using RmaBuffer target = _right.Pool.Rent(10);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = _here.Import(_peer, exposure.Remote);
        using RmaBuffer source = _left.Pool.Rent(10);
        Assert.True(_here.TryPost(RmaOperation.Write(source, remote, 3)));
        Assert.True(_here.TryPost(RmaOperation.Send(source, _peer, 4)));
        Assert.True(_there.TryPost(RmaOperation.Receive(target, 5)));
        Assert.Equal([new RmaCompletion(3, RmaOperationKind.Write, 10, 0), new RmaCompletion(4, RmaOperationKind.Send, 10, 0)], TakeAll(_here, 2));
        Assert.Equal([new RmaCompletion(5, RmaOperationKind.Receive, 10, 0)], TakeAll(_there, 1));
        for (int i = 0; i < 1024; i++)
            Assert.True(_here.TryPost(RmaOperation.Write(source, remote)));
        Assert.False(_here.TryPost(RmaOperation.Write(source, remote)));
        Assert.Equal(4, _here.Poll(new RmaCompletion[4]));
        Assert.True(_here.TryPost(RmaOperation.Write(source, remote)));

        static RmaCompletion[] TakeAll(IRmaEndpoint endpoint, int count)
        {
            List<RmaCompletion> taken = [];
            var room = new RmaCompletion[4];
            Assert.True(SpinWait.SpinUntil(() =>
            {
                taken.AddRange(room[..endpoint.Poll(room)]);
                return taken.Count >= count;
            }, TimeSpan.FromSeconds(30)));
            return [.. taken];
        }
    }

    [Fact]
    public void AForeignAddressIsAClearError()
    {
        Assert.Contains("inside one process", Assert.Throws<RmaProviderException>(() => _here.InsertPeer([.. "RMAHOST1"u8, .. Guid.NewGuid().ToByteArray()])).Message, StringComparison.Ordinal);
        Assert.Contains("3 bytes", Assert.Throws<RmaProviderException>(() => _here.InsertPeer([1, 2, 3])).Message, StringComparison.Ordinal);
    }
}
