using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests batches in which one operation fails, or none ends; transports that accept few operations; and the use of
/// FI_MORE.
/// </summary>
/// <remarks>The fake starts operations that were posted with FI_MORE only when one without it is posted.</remarks>
public sealed class BatchEndingsTests
{
    private const int Count = 20;
    private const int Length = 64;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static TheoryData<string> Modes => [.. new[] { FakeMode.Tcp, FakeMode.Efa, FakeMode.Cxi, FakeMode.Ucx }.Select(m => m.ToString())];

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhicheverFailsIsNamedAndTheRestEnds(string mode)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode));
        await using var side = new Writer(world, isolated: true);
        RmaExposure ended = side.Target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion gone = side.Left.Endpoint.Import(side.Left.Peer, ended.Remote);
        ended.Dispose();
        for (int k = 0; k < Count; k++)
        {
            RmaBatch batch = side.Build(Count, k, gone.Slice(0, Length));
            RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(cancellationToken: Token).AsTask());
            Assert.Equal(k, error.Index);
            Assert.InRange(error.Completed, k, Count - 1);
            Assert.False(error.IsTransient);
        }
        await side.Build(Count).RunAsync(cancellationToken: Token);
        side.AssertIdle();
    }

    [Theory]
    [InlineData(RmaProgress.Endpoint)]
    [InlineData(RmaProgress.Caller)]
    public async Task NothingIsPostedAfterOneThatTheTransportRefuses(RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Efa, progress: progress);
        await using var side = new Writer(world);
        RmaBatch batch = side.Build(Count);
        for (int k = 0; k < Count; k++)
        {
            long before = world.Calls.GetValueOrDefault("fi_writemsg");
            world.Fail("fi_writemsg", FiErrno.FI_EIO, k + 1);
            RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => side.Run(batch));
            // One more operation is posted if the transport was told that something follows; the first of each sixteen
            // follows nothing.
            int more = k % 16 != 0 && k + 1 < Count ? 1 : 0;
            Assert.Equal((k, k + more, FiErrno.FI_EIO), (error.Index, error.Completed, error.ErrorCode));
            Assert.Equal(k + 1 + more, world.Calls["fi_writemsg"] - before);
        }
        await side.Run(batch);
        Assert.False(side.Target.GetSpan(0, Count * Length).ContainsAnyExcept((byte)7));
        side.AssertIdle();
    }

    [Theory]
    [InlineData(RmaProgress.Endpoint)]
    [InlineData(RmaProgress.Caller)]
    public async Task WhatTheTransportDoesNotTakeYetGoesOnInOrder(RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Efa, progress: progress);
        await using var side = new Writer(world);
        RmaBatch batch = side.Build(Count);
        for (int k = 0; k < Count; k++)
        {
            side.Target.Span.Clear();
            world.Fail("fi_writemsg", FiErrno.FI_EAGAIN, k + 1);
            await side.Run(batch);
            Assert.False(side.Target.GetSpan(0, Count * Length).ContainsAnyExcept((byte)7));
        }
        side.AssertIdle();
    }

    [Theory]
    [InlineData(1, true)]
    [InlineData(3, true)]
    [InlineData(16, false)]
    [InlineData(50, false)]
    public async Task ATransportThatTakesLittleDoesThemAll(int depth, bool flushesOnError)
    {
        using var world = new FakeWorld(FakeMode.Efa, depth: depth, flushesOnError: flushesOnError);
        await using var side = new Writer(world);
        for (int run = 0; run < 3; run++)
        {
            side.Target.Span.Clear();
            await side.Build(Writer.Most).RunAsync(cancellationToken: Token);
            Assert.False(side.Target.Span.ContainsAnyExcept((byte)7));
        }
        Assert.True(world.Calls["FI_MORE"] > 0);
    }

    [Fact]
    public async Task AllButEachSixteenthAreFollowed()
    {
        using var world = new FakeWorld(FakeMode.Efa);
        await using var side = new Writer(world);
        await side.Build(160).RunAsync(cancellationToken: Token);
        Assert.Equal(150, world.Calls["FI_MORE"]);
        // A single operation is followed by nothing.
        await side.Build(1).RunAsync(cancellationToken: Token);
        await side.Left.Endpoint.WriteAsync(side.Source, side.Remote.Slice(0, Length), cancellationToken: Token);
        Assert.Equal(150, world.Calls["FI_MORE"]);
    }

    [Fact]
    public async Task ATimeOutIsOneForAllAndQuarantinesWhatTheTransportHas()
    {
        using var world = new FakeWorld(FakeMode.Efa);
        await using var side = new Writer(world);
        RmaBuffer source = side.Left.Pool.Rent(Length);
        RmaBatch batch = side.Left.Endpoint.CreateBatch();
        for (int i = 0; i < Count; i++)
            batch.Write(source, side.Remote.Slice(i * Length, Length));
        world.End(FakeEnding.Held);
        RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(TimeSpan.FromMilliseconds(20), Token).AsTask());
        Assert.Equal((0, 0, true), (error.Index, error.Completed, error.IsTransient));
        Assert.IsType<RmaTimeoutException>(error.InnerException);
        Assert.Equal(Count, side.Left.Endpoint.GetStatistics().Abandoned);
        source.Return();
        Assert.Equal(1, side.Left.Pool.GetStatistics().QuarantinedBuffers);
        Assert.Throws<InvalidOperationException>(() => { _ = batch.RunAsync(cancellationToken: Token).AsTask(); });
        batch.Clear();
        batch.Write(side.Source, side.Remote.Slice(0, Length));

        world.End(FakeEnding.AtOnce);
        await batch.RunAsync(cancellationToken: Token);
        Assert.Equal(0, side.Left.Pool.GetStatistics().QuarantinedBuffers);
        side.AssertIdle();
    }

    [Fact]
    public async Task AllBuffersAreHeldUntilTheLastOperationHasEnded()
    {
        using var world = new FakeWorld(FakeMode.Ucx);
        await using var side = new Writer(world);
        RmaBuffer[] sources = [.. Enumerable.Range(0, 3).Select(_ => side.Left.Pool.Rent(Length))];
        RmaBatch batch = side.Left.Endpoint.CreateBatch();
        RemoteRegion mapped = side.Left.Endpoint.Import(side.Left.Peer, side.Exposure.Remote);
        for (int i = 0; i < Count; i++)
            batch.Write(sources[i % 3], mapped.Slice(i * Length, Length));
        world.End(FakeEnding.Held);
        Task running = batch.RunAsync(cancellationToken: Token).AsTask();
        Assert.All(sources, s => Assert.Contains("hold", Assert.Throws<InvalidOperationException>(s.Return).Message, StringComparison.Ordinal));
        Assert.Throws<InvalidOperationException>(() => batch.Write(sources[0], mapped.Slice(0, Length)));
        Assert.Throws<InvalidOperationException>(batch.Clear);
        Assert.Throws<InvalidOperationException>(() => { _ = batch.RunAsync(cancellationToken: Token).AsTask(); });
        sources[1].Dispose();
        mapped.Dispose();
        Assert.Equal(1, side.Left.Pool.GetStatistics().DeferredReturns);
        world.End(FakeEnding.AtOnce);
        await running;
        sources[0].Return();
        sources[2].Return();
        side.AssertIdle();
    }

    [Fact]
    public async Task ACancelledRunEndsAsCancelledAndTheBatchRunsAgain()
    {
        using var world = new FakeWorld(FakeMode.Efa);
        await using var side = new Writer(world);
        RmaBatch batch = side.Build(Count);
        world.End(FakeEnding.Held);
        using var cancel = new CancellationTokenSource();
        Task running = batch.RunAsync(cancellationToken: cancel.Token).AsTask();
        await cancel.CancelAsync();
        OperationCanceledException error = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        Assert.Equal(cancel.Token, error.CancellationToken);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => batch.RunAsync(cancellationToken: cancel.Token).AsTask());
        world.End(FakeEnding.AtOnce);
        await batch.RunAsync(cancellationToken: Token);
        side.AssertIdle();
    }

    [Theory]
    [InlineData(RmaProgress.Endpoint)]
    [InlineData(RmaProgress.Caller)]
    public async Task ClosingTheEndpointEndsARun(RmaProgress progress)
    {
        using var world = new FakeWorld(FakeMode.Efa, progress: progress);
        await using var side = new Writer(world, maxOutstanding: 4);
        RmaBatch batch = side.Build(Count);
        world.End(FakeEnding.Held);
        Task running = batch.RunAsync(cancellationToken: Token).AsTask();
        await side.Left.Endpoint.DisposeAsync();
        RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => running);
        Assert.Equal((0, 0, FiErrno.FI_ECANCELED), (error.Index, error.Completed, error.ErrorCode));
        Assert.EndsWith("16 were not started.", error.Message, StringComparison.Ordinal);
        Assert.Throws<ObjectDisposedException>(() => { _ = batch.RunAsync(cancellationToken: Token).AsTask(); });
        Assert.Throws<ObjectDisposedException>(() => batch.Write(side.Source, side.Remote.Slice(0, Length)));
        side.Source.Return();
    }

    [Fact]
    public async Task ARunThatFindsNoPlaceWaitsForOneAsSingleOperationsDo()
    {
        using var world = new FakeWorld(FakeMode.Efa);
        await using var side = new Writer(world, maxOutstanding: 4);
        RmaBatch batch = side.Build(Count);
        world.End(FakeEnding.Held);
        Task[] others = [.. Enumerable.Range(0, 4).Select(i => side.Left.Endpoint.WriteAsync(side.Source, side.Remote.Slice(0, Length), cancellationToken: Token).AsTask())];
        RmaBatchException late = await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(TimeSpan.FromMilliseconds(10), Token).AsTask());
        Assert.Contains("MaxOutstanding", Assert.IsType<RmaTimeoutException>(late.InnerException).Message, StringComparison.Ordinal);
        Assert.Equal((0, 0), (late.Index, late.Completed));

        using var cancel = new CancellationTokenSource();
        Task cancelled = batch.RunAsync(cancellationToken: cancel.Token).AsTask();
        Assert.Equal(1, side.Left.Endpoint.GetStatistics().Pending);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);

        Task running = batch.RunAsync(cancellationToken: Token).AsTask();
        world.End(FakeEnding.AtOnce);
        await running;
        await Task.WhenAll(others);
        Assert.False(side.Target.GetSpan(0, Count * Length).ContainsAnyExcept((byte)7));

        world.End(FakeEnding.Held);
        others = [.. Enumerable.Range(0, 4).Select(i => side.Left.Endpoint.WriteAsync(side.Source, side.Remote.Slice(0, Length), cancellationToken: Token).AsTask())];
        running = batch.RunAsync(cancellationToken: Token).AsTask();
        await side.Left.Endpoint.DisposeAsync();
        RmaBatchException closed = await Assert.ThrowsAsync<RmaBatchException>(() => running);
        Assert.Equal((0, FiErrno.FI_ECANCELED), (closed.Index, closed.ErrorCode));
        await Assert.ThrowsAnyAsync<RmaOperationException>(() => Task.WhenAll(others));
        side.Source.Return();
    }

    [Fact]
    public async Task APeerThatIsLostOrRemovedFailsTheRun()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var side = new Writer(world);
        RmaBatch batch = side.Build(Count);
        await batch.RunAsync(cancellationToken: Token);
        world.End(FakeEnding.Failed, FiErrno.FI_ECONNRESET);
        RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(cancellationToken: Token).AsTask());
        Assert.Equal((0, 0), (error.Index, error.Completed));
        Assert.Equal(((RmaOperationException)error.InnerException!).IsTransient, error.IsTransient);
        world.End(FakeEnding.AtOnce);
        side.Left.Endpoint.RemovePeer(side.Left.Peer);
        Assert.Contains("removed", Assert.Throws<InvalidOperationException>(() => { _ = batch.RunAsync(cancellationToken: Token).AsTask(); }).Message, StringComparison.Ordinal);
        side.AssertIdle();
    }

    /// <summary>One side that writes to the other's memory.</summary>
    private sealed class Writer : IAsyncDisposable
    {
        public const int Most = 500;

        private readonly EndpointPair _pair;
        private readonly RmaProgress _progress;

        public Writer(FakeWorld world, bool isolated = false, int maxOutstanding = 1024)
        {
            _progress = world.Progress;
            _pair = new EndpointPair(
                world.Name,
                o => o.Endpoint.MaxOutstanding = maxOutstanding,
                p => p.Isolation = isolated ? RmaIsolation.PerExposure : p.Isolation);
            Target = _pair.Right.Pool.Rent(Most * Length);
            Target.Span.Clear();
            Exposure = Target.Expose(RmaAccess.RemoteWrite);
            Remote = Left.Endpoint.Import(Left.Peer, Exposure.Remote);
            Source = Left.Pool.Rent(Length);
            Source.Span.Fill(7);
        }

        public EndpointPair.Side Left => _pair.Left;

        public RmaBuffer Target { get; }

        public RmaExposure Exposure { get; }

        public RemoteRegion Remote { get; }

        public RmaBuffer Source { get; }

        /// <summary>Builds a batch of writes, the k-th of which goes elsewhere.</summary>
        public RmaBatch Build(int count, int k = -1, RemoteSlice elsewhere = default)
        {
            RmaBatch batch = Left.Endpoint.CreateBatch();
            for (int i = 0; i < count; i++)
                batch.Write(Source, i == k ? elsewhere : Remote.Slice(i * Length, Length));
            return batch;
        }

        public async Task Run(RmaBatch batch)
        {
            Task running = batch.RunAsync(cancellationToken: Token).AsTask();
            while (_progress == RmaProgress.Caller && !running.IsCompleted)
                Left.Endpoint.Poll([]);
            await running;
        }

        public void AssertIdle()
        {
            // The last slot may become free slightly later than its result is available.
            Assert.True(SpinWait.SpinUntil(() => Left.Endpoint.GetStatistics() is { Outstanding: 0, Pending: 0 }, TestTime.Seconds(30)));
            Source.Return();
            Assert.Equal(0, Left.Pool.GetStatistics().RentedBuffers);
        }

        public async ValueTask DisposeAsync()
        {
            Remote.Dispose();
            Exposure.Dispose();
            Target.Dispose();
            if (Source.IsRented)
                Source.Dispose();
            await _pair.DisposeAsync();
        }
    }
}
