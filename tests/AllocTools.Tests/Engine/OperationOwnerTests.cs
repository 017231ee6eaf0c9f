using System.Collections.Concurrent;
using System.Threading.Channels;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Endpoints.Engine;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>
/// Tests operations whose owners are notified where the completion is found, and notifications that are handed over at
/// once.
/// </summary>
public sealed class OperationOwnerTests
{
    [Fact]
    public async Task AnOwnerIsNotifiedOfEachEndOnce()
    {
        await using var side = new DrivenEndpoint(RmaProgress.Endpoint);
        var owner = new Owner();
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, exposure.Remote);
        var endpoint = (RmaEndpoint)side.Endpoint;
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 7), owner));
        side.Driver.CompleteKept();
        Assert.Equal((7UL, null), await owner.NextAsync());
        // An operation that the transport refuses has ended, too, and so has one that is done when the call returns.
        side.Driver.OnPost = static _ => RmaPostResult.Refused(5);
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 8), owner));
        (ulong context, Exception? error) = await owner.NextAsync();
        Assert.Equal((8UL, 5), (context, Assert.IsType<RmaOperationException>(error, exactMatch: false).ErrorCode));
        side.Driver.OnPost = static o => RmaPostResult.Done(o.Length);
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 9), owner));
        Assert.Equal((9UL, null), await owner.NextAsync());
        Assert.Equal(0, owner.Left);
        Assert.Equal(0, side.Endpoint.Poll(new RmaCompletion[1]));
        side.AssertIdle(rented: 1);
    }

    [Fact]
    public async Task WhatFindsNoRoomAtTheTransportWaitsAndWhatFindsNoSlotIsRefused()
    {
        await using var side = new DrivenEndpoint(RmaProgress.Endpoint, o => o.MaxOutstanding = 1);
        var owner = new Owner();
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, exposure.Remote);
        var endpoint = (RmaEndpoint)side.Endpoint;
        side.Driver.OnPost = static _ => RmaPostResult.Full;
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 1), owner));
        Assert.False(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 2), owner));
        side.Driver.OnPost = side.Driver.TakeAndComplete;
        Assert.Equal((1UL, null), await owner.NextAsync());
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 2), owner));
        Assert.Equal((2UL, null), await owner.NextAsync());
    }

    [Fact]
    public async Task ClosingNotifiesOwners()
    {
        var owner = new Owner();
        await using var side = new DrivenEndpoint(RmaProgress.Endpoint);
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, exposure.Remote);
        Assert.True(((RmaEndpoint)side.Endpoint).TryStart(RmaOperation.Write(buffer, remote, context: 3), owner));
        await side.Endpoint.DisposeAsync();
        (ulong context, Exception? error) = await owner.NextAsync();
        Assert.Equal((3UL, "ECANCELED"), (context, Assert.IsType<RmaOperationException>(error, exactMatch: false).ErrorName));
        Assert.Equal(0, owner.Left);
    }

    [Fact]
    public async Task AnOwnerIsToldWhereTheTransportMayStillCarryAnOperationOut()
    {
        var owner = new Owner();
        await using var side = new DrivenEndpoint(RmaProgress.Endpoint, o => o.OperationTimeout = TimeSpan.FromMilliseconds(50));
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, exposure.Remote);
        var endpoint = (RmaEndpoint)side.Endpoint;
        // No completion can arrive for an operation that was never posted.
        side.Driver.OnPost = static _ => RmaPostResult.Full;
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 1), owner));
        Assert.IsType<RmaTimeoutException>((await owner.NextAsync()).Error);
        Assert.Equal(0, owner.Abandoned);
        // The same holds for an operation that the transport cancels when asked to.
        side.Driver.OnPost = side.Driver.Keep;
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 2), owner));
        Assert.IsType<RmaTimeoutException>((await owner.NextAsync()).Error);
        Assert.Equal(0, owner.Abandoned);
        (int Index, long Length) taken = default;
        side.Driver.OnPost = o =>
        {
            taken = (o.Index, o.Length);
            return RmaPostResult.Posted;
        };
        Assert.True(endpoint.TryStart(RmaOperation.Write(buffer, remote, context: 3), owner));
        Assert.IsType<RmaTimeoutException>((await owner.NextAsync()).Error);
        Assert.Equal(1, owner.Abandoned);
        side.Driver.Report(c => c.Complete(taken.Index, taken.Length));
        side.AssertIdle(rented: 1);
        Assert.Equal(0, owner.Left);
    }

    [Fact]
    public async Task ASinkTakesNotificationsAndTheFailureOfTheEndpoint()
    {
        await using var side = new DrivenEndpoint(RmaProgress.Endpoint);
        var sink = new Sink();
        ((RmaEndpoint)side.Endpoint).TakeNotifications(sink);
        side.Driver.Report(c => c.Notify(5, sender: null));
        side.Driver.Report(c => c.Notify(6, side.Driver.Peers[side.Peer.Handle]));
        side.AssertSoon(() => sink.All.Count == 2);
        Assert.Equal([(5UL, null), (6UL, side.Peer)], sink.All);
        Assert.Equal(0, side.Endpoint.GetStatistics().UnreadNotifications);
        side.Driver.Report(static _ => throw new RmaException("the device is gone"));
        Assert.Contains("the device is gone", (await sink.Failure.WaitAsync(TestTime.Seconds(30), TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
    }

    private sealed class Owner : IOperationOwner
    {
        private readonly Channel<(ulong Context, Exception? Error)> _ends = Channel.CreateUnbounded<(ulong, Exception?)>();

        public int Left => _ends.Reader.Count;

        public int Abandoned { get; private set; }

        public void OnEnded(ulong context, Exception? error) => _ends.Writer.TryWrite((context, error));

        public void OnAbandoned(ulong context, Exception error)
        {
            Abandoned++;
            OnEnded(context, error);
        }

        public Task<(ulong Context, Exception? Error)> NextAsync() =>
            _ends.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTime.Seconds(30), TestContext.Current.CancellationToken);
    }

    private sealed class Sink : INotificationSink
    {
        private readonly TaskCompletionSource<RmaException> _failure = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ConcurrentQueue<(ulong Value, RmaPeer? Sender)> All { get; } = new();

        public Task<RmaException> Failure => _failure.Task;

        public void OnNotification(ulong value, RmaPeer? sender) => All.Enqueue((value, sender));

        public void OnFailed(RmaException failure) => _failure.TrySetResult(failure);
    }
}
