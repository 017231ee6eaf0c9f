using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>Tests batches in which one operation waits for the transport to accept it.</summary>
public sealed class HeldUpBatchTests
{
    private const int Count = 6;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static TheoryData<RmaProgress, int> EachOperation => [.. from progress in Enum.GetValues<RmaProgress>() from k in Enumerable.Range(0, Count) select (progress, k)];

    public static TheoryData<Ending, int> EachEnding => [.. from ending in Enum.GetValues<Ending>() from k in Enumerable.Range(0, Count) select (ending, k)];

    /// <summary>The event that ends an operation.</summary>
    public enum Ending
    {
        Cancelled,
        TimedOut,
        PeerLost,
        EndpointBroken,
    }

    [Theory]
    [MemberData(nameof(EachOperation))]
    public async Task TheRunGoesOnInOrderOnceItIsTaken(RmaProgress progress, int k)
    {
        await using var side = new DrivenEndpoint(progress);
        RmaBuffer buffer = side.Pool.Rent(64);
        RmaBatch batch = BatchOf(side, buffer);
        int refusals = 5;
        side.Driver.OnPost = o => o.Length == k + 1 && Interlocked.Decrement(ref refusals) >= 0 ? RmaPostResult.Full : side.Driver.TakeAndComplete(o);
        await side.Await(batch.RunAsync(cancellationToken: Token).AsTask());
        Assert.Equal([.. Enumerable.Range(1, k), .. Enumerable.Repeat(k + 1, 5), .. Enumerable.Range(k + 1, Count - k)], side.Driver.Posts.Select(length => (int)length));
        buffer.Return();
        side.AssertIdle(rented: 0);
    }

    // The transport reports that it is full after another thread's progress turn has ended the operation.
    [Theory]
    [MemberData(nameof(EachEnding))]
    public async Task TheRunEndsThoughTheOperationHadEndedBeforeItWasQueued(Ending ending, int k)
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(time: time);
        RmaBuffer buffer = side.Pool.Rent(64);
        RmaBatch batch = BatchOf(side, buffer);
        using var cancel = new CancellationTokenSource();
        side.Driver.OnPost = o =>
        {
            if (o.Length != k + 1)
                return side.Driver.TakeAndComplete(o);
            End(side, ending, time, cancel);
            side.Endpoint.Poll([]);
            return RmaPostResult.Full;
        };
        Exception error = await Assert.ThrowsAnyAsync<Exception>(() => side.Await(batch.RunAsync(TimeSpan.FromSeconds(10), cancel.Token).AsTask()));
        AssertEndedBy(ending, error, k, cancel.Token);
        await AssertRunsAgain(side, batch, buffer, ending);
    }

    [Theory]
    [MemberData(nameof(EachEnding))]
    public async Task TheRunEndsWithTheOperationThatIsQueued(Ending ending, int k)
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(time: time);
        RmaBuffer buffer = side.Pool.Rent(64);
        RmaBatch batch = BatchOf(side, buffer);
        using var cancel = new CancellationTokenSource();
        side.Driver.OnPost = o => o.Length == k + 1 ? RmaPostResult.Full : side.Driver.TakeAndComplete(o);
        Task running = batch.RunAsync(TimeSpan.FromSeconds(10), cancel.Token).AsTask();
        // The operation has been tried again twice.
        side.AssertSoon(() => side.Driver.Posts.Count(length => length == k + 1) > 2);
        Assert.False(running.IsCompleted);
        End(side, ending, time, cancel);
        Exception error = await Assert.ThrowsAnyAsync<Exception>(() => side.Await(running));
        AssertEndedBy(ending, error, k, cancel.Token);
        await AssertRunsAgain(side, batch, buffer, ending);
    }

    private static RmaBatch BatchOf(DrivenEndpoint side, RmaBuffer buffer)
    {
        RmaBatch batch = side.Endpoint.CreateBatch();
        for (int i = 0; i < Count; i++)
            batch.Send(buffer.Slice(0, i + 1), side.Peer);
        return batch;
    }

    private static void End(DrivenEndpoint side, Ending ending, FakeTimeProvider time, CancellationTokenSource cancel)
    {
        switch (ending)
        {
            case Ending.Cancelled:
                cancel.Cancel();
                break;
            case Ending.TimedOut:
                time.Advance(TimeSpan.FromSeconds(11));
                break;
            case Ending.PeerLost:
                side.Driver.Lose(side.Peer);
                break;
            default:
                side.Driver.OnRead = static () => throw new RmaException("the queue is gone");
                break;
        }
    }

    private static void AssertEndedBy(Ending ending, Exception error, int k, CancellationToken token)
    {
        if (ending == Ending.Cancelled)
        {
            Assert.Equal(token, Assert.IsAssignableFrom<OperationCanceledException>(error).CancellationToken);
            return;
        }
        RmaBatchException failure = Assert.IsType<RmaBatchException>(error);
        // Operations that were posted before it, and have not been reported, end with the endpoint.
        Assert.InRange(failure.Index, ending == Ending.EndpointBroken ? 0 : k, k);
        Type expected = ending switch
        {
            Ending.TimedOut => typeof(RmaTimeoutException),
            Ending.PeerLost => typeof(RmaPeerLostException),
            _ => typeof(RmaOperationException),
        };
        Assert.IsType(expected, failure.InnerException);
    }

    /// <summary>Asserts that the batch has ended as a whole: its buffers are free, and it can be run and changed.</summary>
    private static async Task AssertRunsAgain(DrivenEndpoint side, RmaBatch batch, RmaBuffer buffer, Ending ending)
    {
        if (ending is Ending.Cancelled or Ending.TimedOut)
        {
            side.Driver.OnPost = side.Driver.TakeAndComplete;
            await side.Await(batch.RunAsync(cancellationToken: Token).AsTask());
        }
        batch.Clear();
        buffer.Dispose();
        if (ending == Ending.EndpointBroken)
            await side.Endpoint.DisposeAsync();
        else
            side.AssertIdle(rented: 0);
        Assert.True(SpinWait.SpinUntil(() => side.Test.Statistics is { RentedBuffers: 0, QuarantinedBuffers: 0 }, TestTime.Seconds(30)));
    }
}
