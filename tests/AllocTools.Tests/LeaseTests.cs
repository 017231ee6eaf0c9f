using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests;

public sealed class LeaseTests : IAsyncDisposable
{
    private readonly TestPool _test = new(o => o.Access = RmaAccess.RemoteWrite | RmaAccess.RemoteRead);

    private RmaMemoryPool<HostProvider> Pool => _test.Pool;

    public ValueTask DisposeAsync() => _test.DisposeAsync();

    [Theory]
    [InlineData(1, 1024)]
    [InlineData(1024, 1024)]
    [InlineData(1025, 16 << 10)]
    [InlineData((1 << 20) - 1, 1 << 20)]
    [InlineData((1 << 20) + 1, (1 << 20) + 4096)]
    public void LengthIsWhatWasAskedForAndCapacityTheBlock(long length, long capacity)
    {
        using RmaBuffer buffer = Pool.Rent(length);
        Assert.Equal(length, buffer.Length);
        Assert.Equal(capacity, buffer.Capacity);
        Assert.Equal(length, buffer.Span.Length);
        Assert.True(buffer.IsRented);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(long.MinValue)]
    [InlineData((1L << 30) + 1)]
    [InlineData(long.MaxValue)]
    public void LengthsOutsideTheCapAreRefusedByName(long length)
    {
        ArgumentOutOfRangeException error = Assert.Throws<ArgumentOutOfRangeException>(() => Pool.Rent(length));
        Assert.Contains("MaxRegisteredBytes", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => Pool.TryRent(length, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = Pool.RentAsync(length, TestContext.Current.CancellationToken).AsTask(); });
    }

    [Fact]
    public void ASecondReturnThrowsThroughAnyCopyAlsoWhenTheBlockIsRentedAgain()
    {
        RmaBuffer buffer = Pool.Rent(1000);
        RmaBuffer copy = buffer;
        buffer.Dispose();
        Assert.False(copy.IsRented);
        Assert.Throws<InvalidOperationException>(copy.Dispose);

        RmaBuffer again = Pool.Rent(1000);
        Assert.NotEqual(buffer, again);
        Assert.Throws<InvalidOperationException>(copy.Dispose);
        Assert.True(again.IsRented);
        again.Dispose();
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void EveryUseOfAReturnedBufferThrows()
    {
        RmaBuffer buffer = Pool.Rent(1000);
        Memory<byte> memory = buffer.Memory;
        RmaPointer<int> pointer = buffer.AsPointer<int>();
        RmaSlice slice = buffer.Slice(1, 2);
        buffer.Dispose();
        Assert.Throws<InvalidOperationException>(() => _ = buffer.Span.Length);
        Assert.Throws<InvalidOperationException>(() => _ = buffer.Memory);
        Assert.Throws<InvalidOperationException>(() => _ = buffer.GetSpan(0, 1).Length);
        Assert.Throws<InvalidOperationException>(() => _ = buffer.Address);
        Assert.Throws<InvalidOperationException>(() => _ = buffer.LocalDescriptor);
        Assert.Throws<InvalidOperationException>(() => _ = buffer.Region);
        Assert.Throws<InvalidOperationException>(() => buffer.Expose(RmaAccess.RemoteRead));
        Assert.Throws<InvalidOperationException>(() => buffer.Hold());
        Assert.Throws<InvalidOperationException>(() => _ = memory.Span.Length);
        Assert.Throws<InvalidOperationException>(() => _ = pointer.Value);
        Assert.Throws<InvalidOperationException>(() => _ = slice.Span.Length);
    }

    [Fact]
    public void TheDefaultBufferSaysSoAndDisposesQuietly()
    {
        RmaBuffer none = default;
        none.Dispose();
        Assert.Equal(0, none.Length);
        Assert.False(none.IsRented);
        Assert.Contains("default", Assert.Throws<InvalidOperationException>(() => _ = none.Span.Length).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Pool.Return(none));
    }

    [Fact]
    public async Task AnotherPoolsBufferIsRefused()
    {
        await using var other = new TestPool();
        using RmaBuffer buffer = other.Pool.Rent(10);
        ArgumentException error = Assert.Throws<ArgumentException>(() => Pool.Return(buffer));
        Assert.Contains("a different pool", error.Message, StringComparison.Ordinal);
        Assert.True(buffer.IsRented);
    }

    [Fact]
    public void AnExposedBufferIsNotReturned()
    {
        RmaBuffer buffer = Pool.Rent(1000);
        RmaExposure first = buffer.Expose(RmaAccess.RemoteWrite);
        RmaExposure second = buffer.Expose(10, 20, RmaAccess.RemoteRead);
        Assert.Contains("2 operation", Assert.Throws<InvalidOperationException>(buffer.Return).Message, StringComparison.Ordinal);
        first.Dispose();
        first.Dispose();
        Assert.Throws<InvalidOperationException>(buffer.Return);
        second.Dispose();
        buffer.Dispose();
        Assert.False(buffer.IsRented);
    }

    [Fact]
    public void ManyHoldsAreCountedExactly()
    {
        RmaBuffer buffer = Pool.Rent(1000);
        List<RmaExposure> exposures = [.. Enumerable.Range(0, 1000).Select(_ => buffer.Expose(RmaAccess.RemoteRead))];
        for (int i = exposures.Count - 1; i >= 0; i--)
        {
            Assert.Throws<InvalidOperationException>(buffer.Return);
            exposures[i].Dispose();
        }
        buffer.Dispose();
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public async Task HoldsFromTwoThreadsAroundTheLedgersEdgeAreCountedExactly()
    {
        RmaBuffer buffer = Pool.Rent(1000);
        await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Task.Run(() =>
        {
            RmaHold[] holds = new RmaHold[130];
            for (int round = 0; round < 2000; round++)
            {
                for (int i = 0; i < holds.Length; i++)
                    holds[i] = buffer.Hold();
                for (int i = 0; i < holds.Length; i++)
                    holds[i].Release();
            }
        })));
        buffer.Dispose();
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void AQuarantinedBufferMayBeReturnedButIsNotRentedAgainBeforeItsLastHold()
    {
        RmaBuffer buffer = Pool.Rent(1 << 20);
        RmaHold one = buffer.Hold();
        RmaHold two = buffer.Hold();
        one.Quarantine();
        Assert.Throws<InvalidOperationException>(buffer.Return);
        two.Quarantine();
        buffer.Dispose();
        Assert.False(buffer.IsRented);
        Assert.Equal(1, _test.Statistics.QuarantinedBuffers);
        Assert.Equal(0, _test.Statistics.RentedBuffers);

        using (RmaBuffer other = Pool.Rent(1 << 20))
            Assert.NotEqual(buffer, other);
        two.Release();
        Assert.Equal(1, _test.Statistics.QuarantinedBuffers);
        one.Release();
        one.Release();
        Assert.Equal(0, _test.Statistics.QuarantinedBuffers);
        Assert.Equal(_test.Statistics.SizeClasses[3].TotalBuffers, _test.Statistics.SizeClasses[3].IdleBuffers);
        Assert.Throws<InvalidOperationException>(buffer.Dispose);
    }

    [Fact]
    public void AHoldThatIsReleasedThroughACopyRevivesNothing()
    {
        RmaBuffer buffer = Pool.Rent(10);
        RmaHold hold = buffer.Hold();
        RmaHold copy = hold;
        hold.Release();
        Assert.Throws<InvalidOperationException>(copy.Release);
        Assert.True(buffer.IsRented);
        buffer.Dispose();
        using RmaBuffer next = Pool.Rent(10);
        Assert.False(buffer.IsRented);
        Assert.True(next.IsRented);
    }

    [Fact]
    public async Task OfTwoThreadsThatReturnOneLeaseExactlyOneSucceeds()
    {
        const int Rounds = 100_000;
        RmaBuffer current = default;
        int[] successes = new int[2];
        using var barrier = new Barrier(2, _ => { });
        await Task.WhenAll(Enumerable.Range(0, 2).Select(me => Task.Factory.StartNew(
            () =>
            {
                for (int round = 0; round < Rounds; round++)
                {
                    if (me == 0)
                        current = Pool.Rent(100);
                    barrier.SignalAndWait();
                    try
                    {
                        current.Dispose();
                        successes[me]++;
                    }
                    catch (InvalidOperationException)
                    {
                        // The other thread was first.
                    }
                    barrier.SignalAndWait();
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default)));
        Assert.Equal(Rounds, successes.Sum());
        Assert.Equal(0, _test.Statistics.RentedBuffers);
    }

    [Fact]
    public void SlicesStayWithinTheLengthThatWasAskedFor()
    {
        using RmaBuffer buffer = Pool.Rent(100);
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(50, 51));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(-1, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(long.MaxValue, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Slice(1, long.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>(() => _ = buffer.GetSpan(0, 101).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Expose(0, 0, RmaAccess.RemoteRead));
        Assert.Equal(0, buffer.Slice(100, 0).Length);
    }

    [Fact]
    public async Task AccessThatThePoolDoesNotGrantIsRefusedByName()
    {
        await using var local = new TestPool();
        using RmaBuffer buffer = local.Pool.Rent(10);
        Assert.Contains("Access", Assert.Throws<InvalidOperationException>(() => buffer.Expose(RmaAccess.RemoteWrite)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Expose(RmaAccess.Local));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ReturnedMemoryIsFilledWhereAnOptionSaysSo(bool clear)
    {
        await using var test = new TestPool(o =>
        {
            o.ClearOnReturn = clear;
            o.PoisonOnReturn = !clear;
        });
        RmaBuffer buffer = test.Pool.Rent(1000);
        buffer.Span.Fill(0x42);
        Span<byte> kept = buffer.Span;
        buffer.Dispose();
        Assert.False(kept.ContainsAnyExcept(clear ? (byte)0 : (byte)0xDD));
    }

    [Fact]
    public async Task PerExposureGivesEachExposureAKeyThatDiesWithIt()
    {
        await using var test = new TestPool(o =>
        {
            o.Access = RmaAccess.RemoteWrite;
            o.Isolation = RmaIsolation.PerExposure;
        });
        using IRmaEndpoint endpoint = test.Context.OpenEndpoint();
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        using RmaBuffer target = test.Pool.Rent(100);
        using RmaBuffer source = test.Pool.Rent(100);
        target.Span.Clear();
        source.Span.Fill(7);
        long before = test.Statistics.RegisteredBytes;

        RmaExposure first = target.Expose(10, 20, RmaAccess.RemoteWrite);
        RmaExposure second = target.Expose(10, 20, RmaAccess.RemoteWrite);
        Assert.NotEqual(first.Remote.Key, second.Remote.Key);
        Assert.Equal(before + 40, test.Statistics.RegisteredBytes);
        second.Dispose();

        using RemoteRegion live = endpoint.Import(self, first.Remote);
        await endpoint.WriteAsync(source.Slice(0, 20), live, cancellationToken: TestContext.Current.CancellationToken);
        Assert.False(target.Span.Slice(10, 20).ContainsAnyExcept((byte)7));
        Assert.False(target.Span[..10].ContainsAnyExcept((byte)0));

        using RemoteRegion dead = endpoint.Import(self, second.Remote);
        source.Span.Fill(9);
        RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(
            () => endpoint.WriteAsync(source.Slice(0, 20), dead, cancellationToken: TestContext.Current.CancellationToken).AsTask());
        // Each transport reports the error in its own way.
        Assert.Equal(Fabric.Named is null ? "EACCES" : "FI_EIO", error.ErrorName);
        Assert.False(target.Span.Slice(10, 20).ContainsAnyExcept((byte)7));
        first.Dispose();
        Assert.Equal(before, test.Statistics.RegisteredBytes);
    }
}
