using AllocTools.HostMemory;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Tests buffers that are disposed while something holds them.</summary>
public sealed class DeferredReturnTests : IAsyncDisposable
{
    private readonly FakeLogCollector _log = new();
    private readonly FakeTimeProvider _time = new();
    private readonly ILoggerFactory _logging;
    private readonly TestPool _test;

    public DeferredReturnTests()
    {
        _logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(_log)));
        _test = new TestPool(o => o.Access = RmaAccess.RemoteWrite, _time, _logging);
    }

    private RmaMemoryPool<HostProvider> Pool => _test.Pool;

    public async ValueTask DisposeAsync()
    {
        await _test.DisposeAsync();
        _logging.Dispose();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(254)]
    [InlineData(255)]
    [InlineData(1000)]
    public void TheMemoryComesBackWithTheLastHold(int count)
    {
        RmaBuffer buffer = Pool.Rent(1 << 20);
        RmaHold[] holds = [.. Enumerable.Range(0, count).Select(_ => buffer.Hold())];
        Assert.Throws<InvalidOperationException>(buffer.Return);
        Assert.True(buffer.IsRented);
        buffer.Dispose();

        Assert.False(buffer.IsRented);
        Assert.Throws<InvalidOperationException>(() => buffer.Hold());
        Assert.Throws<InvalidOperationException>(buffer.Dispose);
        for (int i = 0; i < count; i++)
        {
            Assert.Equal((1, 0), (_test.Statistics.QuarantinedBuffers, _test.Statistics.RentedBuffers));
            using (RmaBuffer other = Pool.Rent(1 << 20))
                Assert.NotEqual(buffer, other);
            holds[i].Release();
        }
        AssertAllIsIdle();
        using RmaBuffer again = Pool.Rent(1 << 20);
        Assert.False(buffer.IsRented);
        Assert.Equal(1, _test.Statistics.DeferredReturns);
    }

    [Fact]
    public void OfHoldsThatTimeOutAfterTheReturnTheLastBringsItBack()
    {
        RmaBuffer buffer = Pool.Rent(100);
        RmaHold one = buffer.Hold();
        RmaHold two = buffer.Hold();
        two.Quarantine();
        buffer.Dispose();
        one.Quarantine();
        two.Release();
        Assert.Equal(1, _test.Statistics.QuarantinedBuffers);
        one.Release();
        AssertAllIsIdle();
    }

    [Fact]
    public void AnExceptionOnItsWayIsNotHiddenByABufferThatIsExposed()
    {
        RmaExposure? exposure = null;
        void Fail()
        {
            using RmaBuffer buffer = Pool.Rent(100);
            exposure = buffer.Expose(RmaAccess.RemoteWrite);
            throw new FormatException();
        }
        Assert.Throws<FormatException>(Fail);
        Assert.Equal(1, _test.Statistics.QuarantinedBuffers);
        exposure!.Dispose();
        AssertAllIsIdle();
    }

    [Fact]
    public async Task ThreadsThatReleaseWhileAnotherDisposesLoseNoBlock()
    {
        const int Rounds = 20_000;
        for (int round = 0; round < Rounds; round++)
        {
            RmaBuffer buffer = Pool.Rent(100);
            RmaHold one = buffer.Hold();
            RmaHold two = buffer.Hold();
            if (round % 2 == 0)
                two.Quarantine();
            Task releases = Task.Run(() => { one.Release(); two.Release(); }, TestContext.Current.CancellationToken);
            buffer.Dispose();
            await releases;
        }
        AssertAllIsIdle();
    }

    [Fact]
    public async Task TheLogSaysWhoseItIsAndOthersOnceAMinute()
    {
        RmaExposure[] exposures = [.. Enumerable.Range(0, 3).Select(_ => ExposeAndDispose(Pool))];
        FakeLogRecord first = Assert.Single(Deferred);
        Assert.Contains("held it (1).", first.Message, StringComparison.Ordinal);
        Assert.Equal(LogLevel.Warning, first.Level);
        _time.Advance(TimeSpan.FromMinutes(1));
        exposures = [.. exposures, ExposeAndDispose(Pool)];
        Assert.Contains("So far: 4.", Deferred[^1].Message, StringComparison.Ordinal);
        Assert.Equal(2, Deferred.Length);

        await using var watched = new TestPool(o => (o.Access, o.LeakDetection) = (RmaAccess.RemoteWrite, RmaLeakDetection.All), _time, _logging);
        using (RmaOwner.Begin("gradients"))
            exposures = [.. exposures, ExposeAndDispose(watched.Pool), ExposeAndDispose(watched.Pool)];
        Assert.Equal(4, Deferred.Length);
        Assert.Contains("rented by gradients", Deferred[^1].Message, StringComparison.Ordinal);
        foreach (RmaExposure exposure in exposures)
            exposure.Dispose();
    }

    [Fact]
    public void APinnedBufferIsNotReturned()
    {
        RmaBuffer buffer = Pool.Rent(100);
        Memory<byte> memory = buffer.Memory;
        System.Buffers.MemoryHandle one = memory.Pin();
        System.Buffers.MemoryHandle two = memory[10..].Pin();
        Assert.Contains("pinned 2 time(s)", Assert.Throws<InvalidOperationException>(buffer.Dispose).Message, StringComparison.Ordinal);
        one.Dispose();
        one.Dispose();
        Assert.Contains("pinned 1 time(s)", Assert.Throws<InvalidOperationException>(buffer.Dispose).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(buffer.Return);
        Assert.True(buffer.IsRented);
        two.Dispose();
        buffer.Dispose();
        Assert.Throws<InvalidOperationException>(() => memory.Pin());
        AssertAllIsIdle();
        Assert.Equal(0, _test.Statistics.DeferredReturns);
    }

    [Fact]
    public async Task MemoryOfAPoolThatAnotherOneRegistersIsPinnedUntilThatEnds()
    {
        await using var other = new TestPool();
        RmaBuffer buffer = Pool.Rent(100);
        RmaBuffer region = other.Pool.Register(buffer.Memory);
        Assert.Throws<InvalidOperationException>(buffer.Dispose);
        region.Dispose();
        buffer.Dispose();
        AssertAllIsIdle();
    }

    private FakeLogRecord[] Deferred => [.. _log.GetSnapshot().Where(r => r.Id.Id == 30)];

    private static RmaExposure ExposeAndDispose(RmaMemoryPool<HostProvider> pool)
    {
        using RmaBuffer buffer = pool.Rent(100);
        return buffer.Expose(RmaAccess.RemoteWrite);
    }

    private void AssertAllIsIdle()
    {
        RmaPoolStatistics now = _test.Statistics;
        Assert.Equal((0, 0), (now.QuarantinedBuffers, now.RentedBuffers));
        Assert.All(now.SizeClasses, c => Assert.Equal(c.TotalBuffers, c.IdleBuffers));
    }
}
