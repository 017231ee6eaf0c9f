using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>
/// Tests a driver that throws where it must not: its endpoint can't go on, and reports the cause to each owner, once.
/// </summary>
public sealed class ThrowingDriverTests
{
    private static readonly InvalidOperationException Cause = new("the driver has a bug");

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>The call that makes the driver throw.</summary>
    public enum Thrower
    {
        Awaited,
        Posted,
        Batch,

        /// <summary>A progress turn posts an operation that the transport did not accept at once.</summary>
        Turn,
    }

    public static TheoryData<RmaProgress, Thrower> Each => [.. from progress in Enum.GetValues<RmaProgress>() from thrower in Enum.GetValues<Thrower>() select (progress, thrower)];

    [Theory]
    [MemberData(nameof(Each))]
    public async Task EachOwnerGetsOneErrorWithTheCause(RmaProgress progress, Thrower thrower)
    {
        var log = new FakeLogger();
        await using var side = new DrivenEndpoint(progress, o => o.MaxOutstanding = 6, log);
        IRmaEndpoint endpoint = side.Endpoint;
        RmaBuffer buffer = side.Pool.Rent(64);
        // The transport has a receive, two operations of a batch, and an operation without a task.
        List<Task> owners = [endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, Token).AsTask()];
        RmaBatch batch = endpoint.CreateBatch();
        batch.Send(buffer, side.Peer);
        batch.Send(buffer, side.Peer);
        owners.Add(batch.RunAsync(cancellationToken: Token).AsTask());
        Assert.True(endpoint.TryPost(RmaOperation.Send(buffer, side.Peer, context: 7)));

        bool mayThrow = thrower != Thrower.Turn;
        side.Driver.OnPost = _ => Volatile.Read(ref mayThrow) ? throw Cause : RmaPostResult.Full;
        switch (thrower)
        {
            case Thrower.Posted:
                Assert.True(endpoint.TryPost(RmaOperation.Send(buffer, side.Peer, context: 8)));
                break;
            case Thrower.Batch:
                RmaBatch other = endpoint.CreateBatch();
                other.Send(buffer, side.Peer);
                other.Send(buffer, side.Peer);
                owners.Add(other.RunAsync(cancellationToken: Token).AsTask());
                break;
            default:
                owners.Add(endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask());
                break;
        }
        if (thrower == Thrower.Turn)
        {
            // The first operation waits in the queue, the second behind it, and the third for a slot.
            owners.Add(endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask());
            owners.Add(endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask());
            Volatile.Write(ref mayThrow, true);
        }

        foreach (Task owner in owners)
            AssertSays(await Assert.ThrowsAnyAsync<RmaException>(() => side.Await(owner)));
        var completions = new List<RmaCompletion>();
        int expected = thrower == Thrower.Posted ? 2 : 1;
        side.AssertSoon(() => Taken(endpoint, completions) == expected);
        Assert.Equal([.. Enumerable.Range(7, expected).Select(n => (ulong)n)], completions.Select(c => c.Context).Order());
        Assert.All(completions, c => Assert.Equal(5, c.ErrorCode));

        // Any further operation is refused.
        AssertSays(await Assert.ThrowsAsync<RmaOperationException>(() => endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask()));
        AssertSays(Assert.Throws<RmaOperationException>(() => endpoint.TryPost(RmaOperation.Send(buffer, side.Peer))));
        AssertSays(await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(cancellationToken: Token).AsTask()));
        Assert.Equal(RmaEndpointState.Failed, endpoint.GetStatistics().State);
        Assert.Same(Cause, endpoint.Context.Failure?.InnerException);
        FakeLogRecord record = Assert.Single(log.Collector.GetSnapshot(), r => r.Level >= LogLevel.Error);
        Assert.Same(Cause, record.Exception);

        await endpoint.DisposeAsync();
        buffer.Dispose();
        Assert.True(SpinWait.SpinUntil(() => side.Test.Statistics is { RentedBuffers: 0, QuarantinedBuffers: 0 }, TestTime.Seconds(30)), side.Test.Statistics.ToString());
    }

    private static void AssertSays(RmaException error)
    {
        Assert.Contains("can no longer make progress", error.Message, StringComparison.Ordinal);
        Assert.Contains(Cause.Message, error.Message, StringComparison.Ordinal);
        Exception? cause = error;
        while (cause is not null && cause != Cause)
            cause = cause.InnerException;
        Assert.Same(Cause, cause);
    }

    private static int Taken(IRmaEndpoint endpoint, List<RmaCompletion> taken)
    {
        var room = new RmaCompletion[4];
        taken.AddRange(room[..endpoint.Poll(room)]);
        return taken.Count;
    }
}
