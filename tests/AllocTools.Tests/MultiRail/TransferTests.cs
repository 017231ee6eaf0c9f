using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.MultiRail;
using AllocTools.Testing;
using Microsoft.Extensions.Logging.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.MultiRail;

/// <summary>Tests a transfer's stripes while rails are up, fail, and are all down.</summary>
public sealed class TransferTests
{
    private static RmaMultiRailOptions OftenTried => new() { Delay = TimeSpan.FromMilliseconds(1), MaxDelay = TimeSpan.FromMilliseconds(1) };

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task StripesGoOverAllRailsAndEachByteArrivesOnce()
    {
        await using var rails = new TwoRails();
        await rails.Writer.WriteAsync(rails.Source, rails.Region, cancellationToken: Token);
        rails.AssertArrived();
        long[] bytes = [.. rails.Writer.GetStatistics().Select(static s => s.Bytes)];
        Assert.All(bytes, static b => Assert.True(b > 0));
        Assert.Equal(rails.Source.Length, bytes.Sum());
        rails.Source.Span.Clear();
        await rails.Writer.ReadAsync(rails.Source, rails.Region, cancellationToken: Token);
        rails.AssertArrived();
        Assert.False(rails.Target.Span.SequenceEqual(new byte[rails.Target.Length]));
    }

    [Theory]
    [InlineData(0, 1, 1)]
    [InlineData(1, 2, 64 << 10)]
    [InlineData(4095, 70_001, (64 << 10) + 1)]
    [InlineData(3, 5, (3 << 16) - 1)]
    [InlineData(0, 0, 0)]
    public async Task APartGoesToItsPlaceAndNothingElseChanges(long from, long to, long length)
    {
        await using var rails = new TwoRails();
        rails.Target.Span.Fill(0xEE);
        await rails.Writer.WriteAsync(rails.Source, rails.Region, new RmaRailRange(from, to, length), cancellationToken: Token);
        byte[] expected = [.. Enumerable.Repeat((byte)0xEE, (int)rails.Target.Length)];
        rails.Source.Span.Slice((int)from, (int)length).CopyTo(expected.AsSpan((int)to));
        Assert.True(rails.Target.Span.SequenceEqual(expected));
    }

    [Fact]
    public async Task WithFailoverTheFirstRailCarriesAllUntilItFails()
    {
        await using var rails = new TwoRails(static o => o.Policy = RmaRailPolicy.Failover);
        await rails.Writer.WriteAsync(rails.Source, rails.Region, cancellationToken: Token);
        Assert.Equal([rails.Source.Length, 0], rails.Writer.GetStatistics().Select(static s => s.Bytes));
        await rails.OwnersEndpoints[0].DisposeAsync();
        rails.Target.Span.Clear();
        await rails.Writer.WriteAsync(rails.Source, rails.Region, cancellationToken: Token);
        rails.AssertArrived();
        Assert.Equal([rails.Source.Length, rails.Source.Length], rails.Writer.GetStatistics().Select(static s => s.Bytes));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task TheStripesOfARailThatFailsGoOverTheOtherOne(int failing)
    {
        var log = new FakeLogger();
        await using var rails = new TwoRails(logger: log);
        await using IAsyncEnumerator<RmaRailChange> changes = rails.Writer.ReadRailChangesAsync(Token).GetAsyncEnumerator(Token);
        await rails.OwnersEndpoints[failing].DisposeAsync();
        await rails.Writer.WriteAsync(rails.Source, rails.Region, cancellationToken: Token);
        rails.AssertArrived();
        Assert.True(await changes.MoveNextAsync());
        Assert.Equal(($"rail{failing}", RmaRailState.Down, rails.Peer), (changes.Current.Rail, changes.Current.State, changes.Current.Peer));
        Assert.Equal(RmaRailState.Down, rails.Peer.Rails[$"rail{failing}"]);
        RmaRailStatistics failed = rails.Writer.GetStatistics()[failing];
        Assert.Equal((0, 1, 1, 0L), (failed.Up, failed.Down, failed.Failures, failed.Recoveries));
        Assert.InRange(failed.RepeatedStripes, 1, 4);
        Assert.Contains(log.Collector.GetSnapshot(), static r => r.Id.Id == 64);
        rails.Source.Span.Clear();
        await rails.Writer.ReadAsync(rails.Source, rails.Region, cancellationToken: Token);
        rails.AssertArrived();
        await rails.Writer.DisposeAsync();
        Assert.False(await changes.MoveNextAsync());
    }

    [Fact]
    public async Task NewerBytesWaitUntilTheOldOnesCanNoLongerArrive()
    {
        var time = new FakeTimeProvider();
        await using var rails = new TwoRails(static o => o.LateWriteTime = TimeSpan.FromSeconds(2), time);
        var half = new RmaRailRange(0, 0, rails.Source.Length / 2);
        var other = new RmaRailRange(0, rails.Source.Length / 2, rails.Source.Length / 2);
        await rails.OwnersEndpoints[0].DisposeAsync();
        await rails.Writer.WriteAsync(rails.Source, rails.Region, half, cancellationToken: Token);
        Task newer = rails.Writer.WriteAsync(rails.Source, rails.Region, half, cancellationToken: Token);
        // Writes to other bytes, and reads, do not wait.
        await rails.Writer.WriteAsync(rails.Source, rails.Region, other, cancellationToken: Token);
        await rails.Writer.ReadAsync(rails.Source, rails.Region, half, cancellationToken: Token);
        Assert.False(newer.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.False(newer.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(0.2));
        await newer.WaitAsync(TestTime.Seconds(30), Token);
    }

    [Fact]
    public async Task ATransferThatNoRailCarriesEndsInItsTime()
    {
        await using var rails = new TwoRails();
        foreach (IRmaEndpoint endpoint in rails.OwnersEndpoints)
            await endpoint.DisposeAsync();
        var error = await Assert.ThrowsAsync<RmaTimeoutException>(() => rails.Writer.WriteAsync(rails.Source, rails.Region, timeout: TimeSpan.FromMilliseconds(200), cancellationToken: Token));
        Assert.Contains("rail 'rail0' is down, rail 'rail1' is down", error.Message, StringComparison.Ordinal);
        using var cancel = new CancellationTokenSource();
        Task pending = rails.Writer.ReadAsync(rails.Source, rails.Region, timeout: Timeout.InfiniteTimeSpan, cancellationToken: cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => pending);
    }

    [Fact]
    public async Task APeerOfWhichOneRailCantBeReachedIsInsertedWithThatOneDown()
    {
        var log = new FakeLogger();
        await using var rails = new TwoRails(logger: log);
        await rails.OwnersEndpoints[1].DisposeAsync();
        RmaRailPeer again = rails.Writer.InsertPeer(rails.Owner.Address.Span);
        Assert.Equal((RmaRailState.Up, RmaRailState.Down), (again.Rails["rail0"], again.Rails["rail1"]));
        Assert.Contains(log.Collector.GetSnapshot(), static r => r.Id.Id == 64 && r.Message.Contains("The peer is closed", StringComparison.Ordinal));
        using RmaRailRegion region = rails.Writer.Import(again, rails.Exposure.ToArray());
        await rails.Writer.WriteAsync(rails.Source, region, cancellationToken: Token);
        rails.AssertArrived();
        await rails.OwnersEndpoints[0].DisposeAsync();
        Assert.Contains("The peer is closed", Assert.Throws<RmaProviderException>(() => rails.Writer.InsertPeer(rails.Owner.Address.Span)).Message, StringComparison.Ordinal);
        await rails.Writer.RemovePeerAsync(again);
    }

    // Otherwise a transfer would wait for a rail that counts as up but is not.
    [Fact]
    public async Task ARailWhoseEndpointFailedByItselfIsDownAndComesBack()
    {
        await using var rails = new TwoRails();
        await rails.Writer.WriteAsync(rails.Source, rails.Region, cancellationToken: Token);
        foreach (RailLink link in rails.Peer.Links)
            await link.Session!.Endpoint.DisposeAsync();
        await rails.Writer.WriteAsync(rails.Source, rails.Region, timeout: TestTime.Seconds(30), cancellationToken: Token);
        rails.AssertArrived();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnUnexpectedErrorIsLoggedOnceAndTheRailIsTriedUntilItIsUp(bool isDisposed)
    {
        var log = new FakeLogger();
        await using var rails = new TwoRails();
        var pool = new HeldPool(rails.Pools[0]);
        await using IRmaEndpoint endpoint = pool.Context.OpenEndpoint();
        await using var multi = new RmaMultiRail([new RmaRail("rail0", pool, endpoint)], OftenTried, logger: log);
        await using IAsyncEnumerator<RmaRailChange> changes = multi.ReadRailChangesAsync(Token).GetAsyncEnumerator(Token);
        RmaRailPeer peer = multi.InsertPeer(rails.Owner.Address.Span);
        int attempts = 0;
        pool.OnRent = () =>
        {
            if (++attempts <= 3)
                throw isDisposed ? new ObjectDisposedException("pool") : new InvalidOperationException("the test says so");
        };
        for (int outage = 1; outage <= 2; outage++)
        {
            attempts = 0;
            peer.Links[0].Fail(peer.Links[0].Session!, "the test says so");
            Assert.True(await changes.MoveNextAsync());
            Assert.Equal(RmaRailState.Down, changes.Current.State);
            Assert.True(await changes.MoveNextAsync());
            Assert.Equal((RmaRailState.Up, 4), (changes.Current.State, attempts));
            FakeLogRecord[] errors = [.. log.Collector.GetSnapshot().Where(static r => r.Id.Id == 66)];
            Assert.Equal(outage, errors.Length);
            Assert.All(errors, e => Assert.IsType(isDisposed ? typeof(ObjectDisposedException) : typeof(InvalidOperationException), e.Exception));
        }
        using RmaRailRegion region = multi.Import(peer, rails.Exposure.ToArray());
        pool.OnRent = static () => { };
        using RmaRailMemory source = multi.Rent(rails.Target.Length);
        source.Span.Fill(7);
        await multi.WriteAsync(source, region, cancellationToken: Token);
        Assert.Equal(rails.Target.Length, rails.Target.Span.Count((byte)7));
    }

    [Fact]
    public async Task ARailWhosePoolIsClosedIsDownUntilTheMultiRailIsClosed()
    {
        var log = new FakeLogger();
        await using var rails = new TwoRails();
        await using IRmaEndpoint endpoint = rails.Pools[0].Context.OpenEndpoint();
        var pool = new RmaMemoryPool<HostProvider>(rails.Pools[0].Context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead });
        var multi = new RmaMultiRail([new RmaRail("rail0", pool, endpoint)], OftenTried, logger: log);
        RmaRailPeer peer = multi.InsertPeer(rails.Owner.Address.Span);
        pool.Dispose();
        peer.Links[0].Fail(peer.Links[0].Session!, "the test says so");
        using (var limit = new CancellationTokenSource(TestTime.Seconds(30)))
        {
            while (!log.Collector.GetSnapshot().Any(static r => r.Id.Id == 66))
                await Task.Delay(1, limit.Token);
        }
        Assert.Equal(RmaRailState.Down, peer.Rails["rail0"]);
        await multi.DisposeAsync().AsTask().WaitAsync(TestTime.Seconds(30), Token);
        Assert.IsType<ObjectDisposedException>(Assert.Single(log.Collector.GetSnapshot(), static r => r.Id.Id == 66).Exception);
    }

    [Fact]
    public async Task ARefusalIsTheCallersAndTakesNoRailDown()
    {
        await using var rails = new TwoRails();
        using RmaRailExposure readable = rails.Target.Expose(RmaAccess.RemoteRead);
        using RmaRailRegion region = rails.Writer.Import(rails.Peer, readable.ToArray());
        await Assert.ThrowsAsync<InvalidOperationException>(() => rails.Writer.WriteAsync(rails.Source, region, cancellationToken: Token));
        await rails.Writer.ReadAsync(rails.Source, region, cancellationToken: Token);
        Assert.All(rails.Peer.Rails.Values, static s => Assert.Equal(RmaRailState.Up, s));
    }

    [Fact]
    public async Task WhatIsOutOfRangeOrOfAnotherIsRefusedAtOnce()
    {
        await using var rails = new TwoRails();
        await using var others = new TwoRails();
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = rails.Writer.WriteAsync(rails.Source, rails.Region, new RmaRailRange(1, 0, rails.Source.Length), cancellationToken: Token); });
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = rails.Writer.WriteAsync(rails.Source, rails.Region, new RmaRailRange(0, 1, rails.Source.Length), cancellationToken: Token); });
        Assert.Throws<ArgumentException>(() => { _ = rails.Writer.WriteAsync(others.Source, rails.Region, cancellationToken: Token); });
        Assert.Throws<ArgumentException>(() => { _ = rails.Writer.WriteAsync(rails.Source, others.Region, cancellationToken: Token); });
        Assert.Throws<ArgumentException>(() => rails.Writer.Import(others.Peer, rails.Exposure.ToArray()));
        Assert.Contains("another peer", Assert.Throws<ArgumentException>(() => rails.Writer.Import(rails.Peer, others.Exposure.ToArray())).Message, StringComparison.Ordinal);
        rails.Region.Dispose();
        Assert.Throws<ObjectDisposedException>(() => { _ = rails.Writer.WriteAsync(rails.Source, rails.Region, cancellationToken: Token); });
    }

    [Fact]
    public async Task ARemovedPeerEndsItsTransfersAndIsRemovedOnce()
    {
        await using var rails = new TwoRails();
        foreach (IRmaEndpoint endpoint in rails.OwnersEndpoints)
            await endpoint.DisposeAsync();
        Task pending = rails.Writer.WriteAsync(rails.Source, rails.Region, timeout: Timeout.InfiniteTimeSpan, cancellationToken: Token);
        await rails.Writer.RemovePeerAsync(rails.Peer);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => pending.WaitAsync(TestTime.Seconds(30), Token));
        await Assert.ThrowsAsync<ArgumentException>(() => rails.Writer.RemovePeerAsync(rails.Peer));
        Assert.Throws<ArgumentException>(() => { _ = rails.Writer.WriteAsync(rails.Source, rails.Region, cancellationToken: Token); });
    }

    [Fact]
    public async Task MemoryOfTheCallersGoesOverAllRails()
    {
        await using var rails = new TwoRails();
        byte[] bytes = [.. Enumerable.Range(0, (int)rails.Source.Length).Select(static i => (byte)(i * 7))];
        using (RmaBuffer registered = rails.Pools[1].Register(bytes))
        using (RmaRailMemory memory = rails.Writer.Attach(registered))
            await rails.Writer.WriteAsync(memory, rails.Region, cancellationToken: Token);
        Assert.True(rails.Target.Span.SequenceEqual(bytes));
        Assert.All(rails.Writer.GetStatistics(), static s => Assert.True(s.Bytes > 0));
    }
}
