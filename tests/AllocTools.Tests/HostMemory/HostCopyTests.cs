using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AllocTools.Tests.HostMemory;

/// <summary>
/// Tests copies that are too long for the call that starts them. Here each is blocked until the test releases it.
/// </summary>
public sealed class HostCopyTests : IAsyncDisposable
{
    private const int Long = 2 << 20;
    private const int Short = 100;

    private readonly SemaphoreSlim _mayCopy = new(0);
    private readonly SemaphoreSlim _hasBegun = new(0);
    private readonly HostContext _context = new(new HostProviderOptions { Locking = PageLocking.None }, NullLogger.Instance);
    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly RmaEndpoint _here;
    private readonly RmaEndpoint _there;
    private readonly RmaPeer _peer;
    private readonly RmaBuffer _source;
    private readonly RmaBuffer _target;
    private readonly RmaExposure _exposure;
    private readonly RemoteRegion _remote;

    public HostCopyTests()
    {
        _pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        _here = Open();
        _there = Open();
        _peer = _here.InsertPeer(_there.Address.Span);
        _source = _pool.Rent(Long);
        RandomNumberGenerator.Fill(_source.Span);
        _target = _pool.Rent(Long);
        _target.Span.Clear();
        _exposure = _target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        _remote = _here.Import(_peer, _exposure.Remote);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ALongWriteAndALongReadReturnBeforeTheyCopy()
    {
        Task write = _here.WriteAsync(_source, _remote, cancellationToken: Token).AsTask();
        using RmaBuffer back = _pool.Rent(Long);
        Task read = _here.ReadAsync(back, _remote, cancellationToken: Token).AsTask();
        Assert.False(write.IsCompleted || read.IsCompleted);
        Assert.False(_target.Span.ContainsAnyExcept((byte)0));
        _mayCopy.Release();
        await write;
        Assert.True(_target.Span.SequenceEqual(_source.Span));
        Assert.False(read.IsCompleted);
        _mayCopy.Release();
        await read;
        Assert.True(back.Span.SequenceEqual(_source.Span));
    }

    [Fact]
    public async Task WhatFollowsALongWriteToTheSamePeerDoesNotOvertakeIt()
    {
        using RmaBuffer received = _pool.Rent(Short);
        Task<RmaReceiveResult> receive = _there.ReceiveAsync(received, cancellationToken: Token).AsTask();
        RmaPeer itself = _here.InsertPeer(_here.Address.Span);
        using RemoteRegion own = _here.Import(itself, _exposure.Remote);
        using RmaBuffer other = _pool.Rent(Short);

        Task first = _here.WriteAsync(_source, _remote, notification: 1, cancellationToken: Token).AsTask();
        other.Span.Fill(42);
        Task second = _here.WriteAsync(other, _remote[..Short], notification: 2, cancellationToken: Token).AsTask();
        Task send = _here.SendAsync(other, _peer, cancellationToken: Token).AsTask();
        // Operations to other peers are not delayed.
        await _here.ReadAsync(other, own[..Short], cancellationToken: Token);
        Assert.Equal(0, other.Span[0]);
        other.Span.Fill(42);
        Assert.False(first.IsCompleted || second.IsCompleted || send.IsCompleted || receive.IsCompleted);
        Assert.Equal(0, _there.PollNotifications(new RmaNotification[2]));

        _mayCopy.Release(3);
        Assert.Equal(Short, (await receive).Length);
        Assert.False(_target.GetSpan(0, Short).ContainsAnyExcept((byte)42));
        Assert.True(_target.GetSpan(Short, Long - Short).SequenceEqual(_source.GetSpan(Short, Long - Short)));
        await Task.WhenAll(first, second, send);
        await using IAsyncEnumerator<RmaNotification> notifications = _there.ReadNotificationsAsync(Token).GetAsyncEnumerator(Token);
        for (ulong i = 1; i <= 2; i++)
        {
            Assert.True(await notifications.MoveNextAsync());
            Assert.Equal(i, notifications.Current.Value);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ALongMessageIsCopiedByNeitherCall(bool receivesFirst)
    {
        using RmaBuffer received = _pool.Rent(Long);
        using RmaBuffer next = _pool.Rent(Short);
        Task<RmaReceiveResult> receive = null!, receiveNext = null!;
        Task send = null!, sendNext = null!;
        foreach (bool receives in new[] { receivesFirst, !receivesFirst })
        {
            if (receives)
            {
                receive = _there.ReceiveAsync(received, cancellationToken: Token).AsTask();
                receiveNext = _there.ReceiveAsync(next, cancellationToken: Token).AsTask();
            }
            else
            {
                send = _here.SendAsync(_source, _peer, cancellationToken: Token).AsTask();
                sendNext = _here.SendAsync(_source.Slice(0, Short), _peer, cancellationToken: Token).AsTask();
            }
        }
        Assert.False(receive.IsCompleted || receiveNext.IsCompleted || send.IsCompleted || sendNext.IsCompleted);
        _mayCopy.Release(2);
        Assert.Equal((Long, Short), ((await receive).Length, (await receiveNext).Length));
        await Task.WhenAll(send, sendNext);
        Assert.True(received.Span.SequenceEqual(_source.Span));
        Assert.True(next.Span.SequenceEqual(_source.GetSpan(0, Short)));
    }

    [Fact]
    public async Task AShortOperationIsDoneByItsCallAndAllocatesNothing()
    {
        using RmaBuffer received = _pool.Rent(Short);
        var allocations = new ThreadAllocations();
        // The first rounds create the objects that are created only once.
        for (int i = 0; i < 200; i++)
        {
            ValueTask<RmaReceiveResult> receive = _there.ReceiveAsync(received, cancellationToken: Token);
            if (i >= 100)
                allocations.Begin();
            ValueTask write = _here.WriteAsync(_source.Slice(0, Short), _remote[..Short], cancellationToken: Token);
            ValueTask read = _here.ReadAsync(_source.Slice(Short, Short), _remote[..Short], cancellationToken: Token);
            bool areDone = write.IsCompletedSuccessfully && read.IsCompletedSuccessfully;
            // These complete on this thread: there is nothing to wait for.
            await write;
            await read;
            if (i >= 100)
                allocations.End();
            Assert.True(areDone);
            await _here.SendAsync(_source.Slice(0, Short), _peer, cancellationToken: Token);
            Assert.Equal(Short, (await receive).Length);
        }
        allocations.AssertNone();
    }

    [Fact]
    public async Task WhatWaitsBehindALongWriteCanBeCancelled()
    {
        using var cancel = new CancellationTokenSource();
        Task first = _here.WriteAsync(_source, _remote, cancellationToken: Token).AsTask();
        Task write = _here.WriteAsync(_source, _remote, cancellationToken: cancel.Token).AsTask();
        Task send = _here.SendAsync(_source, _peer, cancellationToken: cancel.Token).AsTask();
        Task late = _here.WriteAsync(_source, _remote, TimeSpan.Zero, Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => write);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => send);
        await Assert.ThrowsAsync<RmaTimeoutException>(() => late);
        Assert.False(first.IsCompleted);
        // Only the first copy is still to be done.
        _mayCopy.Release();
        await first;
        _source.Return();
    }

    [Fact]
    public async Task ClosingTheEndpointDropsWhatWaitsAndWaitsForTheCopyThatRuns()
    {
        Task first = _here.WriteAsync(_source, _remote, cancellationToken: Token).AsTask();
        Task second = _here.WriteAsync(_source, _remote, cancellationToken: Token).AsTask();
        await _hasBegun.WaitAsync(Token);
        Task closing = _here.DisposeAsync().AsTask();
        Assert.Equal("ECANCELED", (await Assert.ThrowsAsync<RmaOperationException>(() => first)).ErrorName);
        Assert.Equal("ECANCELED", (await Assert.ThrowsAsync<RmaOperationException>(() => second)).ErrorName);
        // The running copy may still read the buffer.
        _source.Return();
        Assert.Equal(1, _pool.GetStatistics().QuarantinedBuffers);
        Assert.False(closing.IsCompleted);
        _mayCopy.Release();
        await closing;
        Assert.Equal(0, _pool.GetStatistics().QuarantinedBuffers);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ClosingEitherSideWaitsForAMessageThatIsCopied(bool closesSender)
    {
        RmaBuffer received = _pool.Rent(Long);
        Task<RmaReceiveResult> receive = _there.ReceiveAsync(received, cancellationToken: Token).AsTask();
        Task send = _here.SendAsync(_source, _peer, cancellationToken: Token).AsTask();
        await _hasBegun.WaitAsync(Token);
        Task closing = (closesSender ? _here : _there).DisposeAsync().AsTask();
        Assert.Equal("ECANCELED", (await Assert.ThrowsAsync<RmaOperationException>(() => closesSender ? send : receive)).ErrorName);
        Assert.False(closing.IsCompleted);
        _mayCopy.Release();
        await closing;
        if (closesSender)
            Assert.Equal(Long, (await receive).Length);
        else
            await send;
        _source.Return();
        received.Return();
    }

    [Fact]
    public async Task ALongMessageThatWaitsForItsCopyFailsWhereItsPeerIsClosed()
    {
        using RmaBuffer received = _pool.Rent(Long);
        using RmaBuffer receivedNext = _pool.Rent(Long);
        Task[] receives = [_there.ReceiveAsync(received, cancellationToken: Token).AsTask(), _there.ReceiveAsync(receivedNext, cancellationToken: Token).AsTask()];
        Task first = _here.SendAsync(_source, _peer, cancellationToken: Token).AsTask();
        Task second = _here.SendAsync(_source, _peer, cancellationToken: Token).AsTask();
        await _hasBegun.WaitAsync(Token);
        Task closing = _there.DisposeAsync().AsTask();
        foreach (Task receive in receives)
            await Assert.ThrowsAsync<RmaOperationException>(() => receive);
        _mayCopy.Release();
        await closing;
        await first;
        Assert.Equal("ECONNRESET", (await Assert.ThrowsAsync<RmaPeerLostException>(() => second)).ErrorName);
        _source.Return();
    }

    public async ValueTask DisposeAsync()
    {
        _mayCopy.Release(100);
        await _here.DisposeAsync();
        await _there.DisposeAsync();
        _remote.Dispose();
        _exposure.Dispose();
        if (_source.IsRented)
            _source.Dispose();
        _target.Dispose();
        await _pool.DisposeAsync();
        _context.Dispose();
        _mayCopy.Dispose();
        _hasBegun.Dispose();
    }

    private RmaEndpoint Open() =>
        new(_context, new HostDriver(HoldUp), new RmaEndpointOptions());

    private void HoldUp()
    {
        _hasBegun.Release();
        Assert.True(_mayCopy.Wait(TestTime.Seconds(60)), "nobody let it copy");
    }
}
