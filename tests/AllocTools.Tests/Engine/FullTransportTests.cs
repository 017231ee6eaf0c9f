using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>
/// Tests which waiting operations the engine reports to a driver: only those that the driver was asked to accept and
/// has refused.
/// </summary>
public sealed class FullTransportTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OneThatWaitsBehindAnotherIsNoRefusalOfTheTransport()
    {
        await using var side = new DrivenEndpoint();
        using RmaBuffer buffer = side.Pool.Rent(64);
        bool isFull = true;
        side.Driver.OnPost = o => isFull ? RmaPostResult.Full : side.Driver.TakeAndComplete(o);
        // The driver was asked and has refused: the caller should try again.
        Assert.False(side.Endpoint.TryPost(RmaOperation.Send(buffer, side.Peer)));
        Assert.Equal([(RmaOperationKind.Send, null)], side.Driver.Refusals);
        side.Driver.Refusals.Clear();

        Task queued = side.Endpoint.SendAsync(buffer.Slice(0, 1), side.Peer, cancellationToken: Token).AsTask();
        Assert.Empty(side.Driver.Refusals);
        long asked = side.Driver.Posts.Count;
        // The driver is not asked, because the operation would overtake the other one.
        Assert.False(side.Endpoint.TryPost(RmaOperation.Send(buffer, side.Peer)));
        Assert.Equal(asked, side.Driver.Posts.Count);
        Assert.Empty(side.Driver.Refusals);
        // Receives don't wait behind sends.
        Assert.False(side.Endpoint.TryPost(RmaOperation.Receive(buffer)));
        Assert.Equal([(RmaOperationKind.Receive, null)], side.Driver.Refusals);
        side.Driver.Refusals.Clear();

        // A progress turn tries the queued operation again, and reports how long it has waited.
        side.Endpoint.Poll([]);
        (RmaOperationKind kind, TimeSpan? elapsed) = Assert.Single(side.Driver.Refusals);
        Assert.Equal(RmaOperationKind.Send, kind);
        Assert.NotNull(elapsed);
        isFull = false;
        await side.Await(queued);
        Assert.True(side.Endpoint.TryPost(RmaOperation.Send(buffer, side.Peer, context: 1)));
        var completions = new RmaCompletion[1];
        side.AssertSoon(() => completions[0].Context == 1 || side.Endpoint.Poll(completions) == 1);
        side.AssertIdle(rented: 1);
    }
}
