using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>
/// Tests a slot that serves one operation after another: no state of an earlier operation shows in a later one.
/// </summary>
public sealed class SlotReuseTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(RmaProgress.Caller)]
    [InlineData(RmaProgress.Endpoint)]
    public async Task TheSenderIsThatOfTheMessageOrUnknown(RmaProgress progress)
    {
        await using var side = new DrivenEndpoint(progress, o => o.MaxOutstanding = 1);
        using RmaBuffer buffer = side.Pool.Rent(64);
        RmaDriverPeer peer = side.Driver.Peers[side.Peer.Handle];
        Assert.Equal(side.Peer, (await Receive(peer)).Sender);
        Assert.Null((await Receive(null)).Sender);
        Assert.Equal(side.Peer, (await Receive(peer)).Sender);

        // The operation has no task and is done at once: the completion has no sender.
        side.Driver.OnPost = static o => RmaPostResult.Done(o.Length);
        var completions = new RmaCompletion[1];
        Assert.True(side.Endpoint.TryPost(RmaOperation.Send(buffer, side.Peer, context: 3)));
        side.AssertSoon(() => completions[0].Context == 3 || side.Endpoint.Poll(completions) == 1);
        Assert.Equal((64L, null), (completions[0].Length, completions[0].Sender));
        // A failed receive has no sender either.
        side.Driver.OnPost = side.Driver.Keep;
        Assert.Equal(side.Peer, (await Receive(peer)).Sender);
        Assert.True(side.Endpoint.TryPost(RmaOperation.Receive(buffer, context: 4)));
        side.Driver.Report(c => c.Fail(0, error: 5, ""));
        side.AssertSoon(() => completions[0].Context == 4 || side.Endpoint.Poll(completions) == 1);
        Assert.Equal((5, null), (completions[0].ErrorCode, completions[0].Sender));

        async Task<RmaReceiveResult> Receive(RmaDriverPeer? sender)
        {
            Task<RmaReceiveResult> receiving = side.Endpoint.ReceiveAsync(buffer, cancellationToken: Token).AsTask();
            side.Driver.CompleteKept(sender);
            RmaReceiveResult result = await side.Await(receiving);
            side.AssertSoon(() => side.Endpoint.GetStatistics().Outstanding == 0);
            return result;
        }
    }

    // The owner gets the result before the slot is free: the first await may even have ended, and the buffer been returned.
    [Theory]
    [InlineData(RmaProgress.Caller, false)]
    [InlineData(RmaProgress.Caller, true)]
    [InlineData(RmaProgress.Endpoint, false)]
    [InlineData(RmaProgress.Endpoint, true)]
    public async Task ASecondAwaitThrowsThoughTheFirstIsStillBeingDelivered(RmaProgress progress, bool fails)
    {
        await using var side = new DrivenEndpoint(progress, o => o.MaxOutstanding = 1);
        using RmaBuffer target = side.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RmaBuffer source = side.Pool.Rent(64);
        RemoteRegion region = side.Endpoint.Import(side.Peer, exposure.Remote);
        // The slot unmaps its key after the result is available and before the slot is free.
        using var release = new ManualResetEventSlim();
        using var unmapping = new ManualResetEventSlim();
        side.Driver.OnUnmap = () =>
        {
            unmapping.Set();
            release.Wait(TestTime.Seconds(60), CancellationToken.None);
        };
        ValueTask write = default;
        try
        {
            write = side.Endpoint.WriteAsync(source, region, cancellationToken: Token);
            region.Dispose();
            Task first = AwaitIt(write);
            if (fails)
                side.Driver.Report(c => c.Fail(0, error: 5, ""));
            else
                side.Driver.CompleteKept();
            Task turn = Task.Run(() => side.Endpoint.Poll([]), Token);
            Assert.True(unmapping.Wait(TestTime.Seconds(30), Token));
            if (fails)
                await Assert.ThrowsAsync<RmaOperationException>(() => first);
            else
                await first;
            InvalidOperationException error = await Assert.ThrowsAsync<InvalidOperationException>(() => AwaitIt(write));
            Assert.Contains("was awaited before", error.Message, StringComparison.Ordinal);
            Assert.Throws<InvalidOperationException>(() => write.GetAwaiter().GetResult());
            release.Set();
            await turn;
        }
        finally
        {
            release.Set();
        }
        side.AssertIdle(rented: 2);
        // The slot is freed only once, and serves the next operation.
        Task next = side.Endpoint.SendAsync(source, side.Peer, cancellationToken: Token).AsTask();
        await Assert.ThrowsAsync<InvalidOperationException>(() => AwaitIt(write));
        side.Driver.CompleteKept();
        await side.Await(next);
        side.AssertIdle(rented: 2);
    }

    private static async Task AwaitIt(ValueTask task) => await task;
}
