using AllocTools.Endpoints;
using AllocTools.Endpoints.Drivers;
using AllocTools.Testing;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>Tests which operations an endpoint repeats, how often and when, and which it must not repeat.</summary>
public sealed class RetryTests
{
    private const int AccessDenied = 13;
    private const int NoBuffers = 105;
    private const int ConnectionReset = 104;
    private const int Canceled = 125;
    private const int ConnectionRefused = 111;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>The way in which an attempt fails.</summary>
    public enum Failure
    {
        /// <summary>The transport accepts no part of it.</summary>
        Refused,

        /// <summary>The transport has accepted it, and reports later that it failed.</summary>
        Completed,
    }

    // An accepted write whose connection broke may still arrive, over newer bytes.
    [Theory]
    [InlineData(RmaOperationKind.Write, Failure.Refused, ConnectionRefused, true)]
    [InlineData(RmaOperationKind.Write, Failure.Refused, NoBuffers, true)]
    [InlineData(RmaOperationKind.Write, Failure.Refused, AccessDenied, false)]
    [InlineData(RmaOperationKind.Write, Failure.Completed, NoBuffers, false)]
    [InlineData(RmaOperationKind.Write, Failure.Completed, ConnectionReset, false)]
    [InlineData(RmaOperationKind.Write, Failure.Completed, AccessDenied, false)]
    [InlineData(RmaOperationKind.Read, Failure.Refused, ConnectionRefused, true)]
    [InlineData(RmaOperationKind.Read, Failure.Completed, ConnectionReset, true)]
    [InlineData(RmaOperationKind.Read, Failure.Completed, AccessDenied, false)]
    [InlineData(RmaOperationKind.Send, Failure.Refused, ConnectionRefused, false)]
    [InlineData(RmaOperationKind.Send, Failure.Completed, NoBuffers, false)]
    public async Task OnlyWhatLeavesNothingBehindIsRepeated(RmaOperationKind kind, Failure failure, int error, bool isRepeated)
    {
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3));
        RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        int failures = 2;
        side.Driver.OnPost = o => failures-- > 0 ? Fail(side, o, failure, error) : side.Driver.TakeAndComplete(o);
        Exception? result = await Record.ExceptionAsync(() => side.Await(Start(side, kind, buffer, remote)));
        Assert.Equal(isRepeated ? 3 : 1, side.Driver.Posts.Count);
        Assert.Equal(isRepeated ? 2 : 0, StatisticsOf(side, kind).Retries);
        if (isRepeated)
            Assert.Null(result);
        else
            Assert.Equal((error, 1, false), Assert.IsType<RmaOperationException>(result) is var e ? (e.ErrorCode, e.Attempts, e.IsRetryable) : default);
        Assert.Equal((isRepeated ? 2 : 1, isRepeated ? 1 : 0), (StatisticsOf(side, kind).Failed, StatisticsOf(side, kind).Succeeded));
        buffer.Return();
    }

    [Fact]
    public async Task NothingIsRepeatedUnlessTheOptionSaysSo()
    {
        await using var side = new DrivenEndpoint();
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        side.Driver.OnPost = static _ => RmaPostResult.Refused(ConnectionRefused);
        var error = await Assert.ThrowsAsync<RmaOperationException>(() => side.Await(Start(side, RmaOperationKind.Write, buffer, remote)));
        Assert.True(error.IsRetryable && error.IsTransient);
        Assert.Single(side.Driver.Posts);
    }

    [Fact]
    public async Task AWriteWithANotificationABatchAndAPostAreNotRepeated()
    {
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3));
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        side.Driver.OnPost = static _ => RmaPostResult.Refused(ConnectionRefused);
        await Assert.ThrowsAsync<RmaOperationException>(() => side.Await(side.Endpoint.WriteAsync(buffer, remote, notification: 1, cancellationToken: Token).AsTask()));
        RmaBatch batch = side.Endpoint.CreateBatch();
        batch.Write(buffer, remote);
        await Assert.ThrowsAsync<RmaBatchException>(() => side.Await(batch.RunAsync(cancellationToken: Token).AsTask()));
        Assert.Throws<RmaOperationException>(() => side.Endpoint.TryPost(RmaOperation.Write(buffer, remote)));
        Assert.Equal(3, side.Driver.Posts.Count);
    }

    [Fact]
    public async Task TheLastErrorSaysHowOftenItWasTried()
    {
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3));
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        int tries = 0;
        side.Driver.OnPost = _ => RmaPostResult.Refused(++tries < 4 ? ConnectionRefused : NoBuffers);
        var error = await Assert.ThrowsAsync<RmaOperationException>(() => side.Await(Start(side, RmaOperationKind.Write, buffer, remote)));
        Assert.Equal((NoBuffers, 4), (error.ErrorCode, error.Attempts));
        Assert.EndsWith("It was tried 4 times.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DelaysGrowAndTheOperationEndsWithinItsTime()
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 100, first: TimeSpan.FromSeconds(1), longest: TimeSpan.FromSeconds(4)), time: time);
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        DateTimeOffset start = time.GetUtcNow();
        List<double> at = [];
        side.Driver.OnPost = _ =>
        {
            at.Add((time.GetUtcNow() - start).TotalSeconds);
            return RmaPostResult.Refused(ConnectionRefused);
        };
        Task write = side.Endpoint.WriteAsync(buffer, remote, TimeSpan.FromSeconds(30), Token).AsTask();
        // A task's continuation starts each delay, so the clock advances in small steps until it has run.
        using var limit = new CancellationTokenSource(TestTime.Seconds(60));
        while (!write.IsCompleted)
        {
            limit.Token.ThrowIfCancellationRequested();
            time.Advance(TimeSpan.FromMilliseconds(10));
            await Task.Yield();
        }
        var error = await Assert.ThrowsAsync<RmaOperationException>(() => write);
        Assert.Equal(at.Count, error.Attempts);
        // Half of each delay is fixed; the rest depends on how soon the continuation runs.
        double[] least = [0.5, 1, 2, 2, 2];
        Assert.All(at.Zip(at.Skip(1), (a, b) => b - a).Zip(least), static p => Assert.True(p.First >= p.Second, $"{p}"));
        Assert.InRange(at.Count, 6, 30);
        Assert.InRange(at[^1], 0, 30);
    }

    [Fact]
    public async Task ACancelledOperationEndsDuringItsDelay()
    {
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3, first: TimeSpan.FromMinutes(1), longest: TimeSpan.FromMinutes(1)));
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        side.Driver.OnPost = static _ => RmaPostResult.Refused(ConnectionRefused);
        using var cancel = new CancellationTokenSource();
        Task write = side.Endpoint.WriteAsync(buffer, remote, Timeout.InfiniteTimeSpan, cancel.Token).AsTask();
        Assert.False(write.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => write.WaitAsync(TestTime.Seconds(30), Token));
        Assert.Single(side.Driver.Posts);
    }

    [Fact]
    public async Task ClosingTheEndpointEndsADelay()
    {
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3, first: TimeSpan.FromMinutes(1)));
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        side.Driver.OnPost = static _ => RmaPostResult.Refused(ConnectionRefused);
        Task write = side.Endpoint.WriteAsync(buffer, remote, Timeout.InfiniteTimeSpan, Token).AsTask();
        Assert.False(write.IsCompleted);
        await side.Endpoint.DisposeAsync();
        var error = await Assert.ThrowsAsync<RmaOperationException>(() => write.WaitAsync(TestTime.Seconds(30), Token));
        Assert.Equal(Canceled, error.ErrorCode);
        Assert.Single(side.Driver.Posts);
    }

    // The transport still has the operation: it may write later, over the bytes of a second attempt.
    [Theory]
    [InlineData(RmaOperationKind.Write)]
    [InlineData(RmaOperationKind.Read)]
    public async Task AnOperationThatHasTimedOutIsNotRepeated(RmaOperationKind kind)
    {
        await using var side = new DrivenEndpoint(configure: o =>
        {
            Set(o, retries: 3);
            o.OperationTimeout = TimeSpan.FromMilliseconds(20);
        });
        RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        side.Driver.OnPost = static _ => RmaPostResult.Posted;
        var error = await Assert.ThrowsAsync<RmaTimeoutException>(() => side.Await(Start(side, kind, buffer, remote)));
        Assert.False(error.IsRetryable);
        Assert.Equal((1, 1), (side.Driver.Posts.Count, side.Endpoint.GetStatistics().Abandoned));
        buffer.Dispose();
        Assert.Equal(1, side.Test.Statistics.QuarantinedBuffers);
    }

    [Fact]
    public async Task AnOperationToALostPeerIsNotRepeated()
    {
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3));
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        side.Driver.Lose(side.Peer);
        var error = await Assert.ThrowsAsync<RmaPeerLostException>(() => side.Await(Start(side, RmaOperationKind.Read, buffer, remote)));
        Assert.Equal((true, false, 1), (error.IsTransient, error.IsRetryable, error.Attempts));
    }

    [Fact]
    public async Task ABufferThatIsReturnedDuringADelayEndsTheOperationWithItsOwnError()
    {
        var time = new FakeTimeProvider();
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3, first: TimeSpan.FromSeconds(1)), time: time);
        RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        side.Driver.OnPost = static _ => RmaPostResult.Refused(ConnectionRefused);
        Task write = Start(side, RmaOperationKind.Write, buffer, remote);
        buffer.Return();
        while (!write.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Yield();
        }
        var error = await Assert.ThrowsAsync<RmaOperationException>(() => write);
        Assert.Equal(ConnectionRefused, error.ErrorCode);
        Assert.Single(side.Driver.Posts);
    }

    [Fact]
    public async Task AMistakeOfTheCallerIsThrownAtOnce()
    {
        await using var side = new DrivenEndpoint(configure: o => Set(o, retries: 3));
        using RmaBuffer buffer = side.Pool.Rent(64);
        using RmaExposure exposure = Expose(side, out RemoteRegion remote);
        Assert.Throws<ArgumentException>(() => { _ = side.Endpoint.WriteAsync(buffer, remote.Slice(0, 8), cancellationToken: Token).AsTask(); });
    }

    [Theory]
    [InlineData(101, 10, 1000, "Retry:MaxRetries is 101; it must be between 1 and 100 retries, or 0 for none.")]
    [InlineData(1, 0, 1000, "Retry:Delay is 0; it must be between 1 ms and 1 minute.")]
    [InlineData(1, 20, 10, "Retry:MaxDelay is 10 ms; it must not be shorter than Retry:Delay, 20 ms.")]
    public void AnOptionThatCantBeUsedIsRefusedInWords(int retries, int first, int longest, string message)
    {
        var options = new RmaEndpointOptions();
        Set(options, retries, TimeSpan.FromMilliseconds(first), TimeSpan.FromMilliseconds(longest));
        ValidateOptionsResult result = new RmaEndpointOptionsValidator().Validate(null, options);
        Assert.Equal([message], result.Failures!);
    }

    private static void Set(RmaEndpointOptions options, int retries, TimeSpan? first = null, TimeSpan? longest = null)
    {
        options.Retry.MaxRetries = retries;
        options.Retry.Delay = first ?? TimeSpan.FromMilliseconds(1);
        options.Retry.MaxDelay = longest ?? TimeSpan.FromHours(1);
    }

    private static RmaPostResult Fail(DrivenEndpoint side, RmaDriverOperation operation, Failure failure, int error)
    {
        if (failure == Failure.Refused)
            return RmaPostResult.Refused(error);
        int index = operation.Index;
        side.Driver.Report(c => c.Fail(index, error, "the test says so"));
        return RmaPostResult.Posted;
    }

    private static Task Start(DrivenEndpoint side, RmaOperationKind kind, RmaBuffer buffer, RemoteRegion remote) => kind switch
    {
        RmaOperationKind.Write => side.Endpoint.WriteAsync(buffer, remote, cancellationToken: Token).AsTask(),
        RmaOperationKind.Read => side.Endpoint.ReadAsync(buffer, remote, cancellationToken: Token).AsTask(),
        _ => side.Endpoint.SendAsync(buffer, side.Peer, cancellationToken: Token).AsTask(),
    };

    private static RmaOperationStatistics StatisticsOf(DrivenEndpoint side, RmaOperationKind kind) =>
        side.Endpoint.GetStatistics().Operations.Single(o => o.Kind == kind);

    /// <summary>Exposes memory of the peer, which the test's transport never touches.</summary>
    private static RmaExposure Expose(DrivenEndpoint side, out RemoteRegion remote)
    {
        RmaExposure exposure = side.Pool.Rent(64).Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        remote = side.Endpoint.Import(side.Peer, exposure.Remote);
        return exposure;
    }
}
