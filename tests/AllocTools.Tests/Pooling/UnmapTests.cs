using AllocTools.Blocks;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests memory that can't be given back to the system.</summary>
public sealed class UnmapTests : IDisposable
{
    private const long Direct = 8 << 20;

    private readonly FakeLogCollector _log = new();
    private readonly ILoggerFactory _logging;
    private readonly FakeTimeProvider _time = new();
    private readonly CountingContext _context = new();
    private readonly NeverUnmaps _blocks = new();

    public UnmapTests() => _logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(_log)));

    public void Dispose() => _logging.Dispose();

    [Fact]
    public async Task TheTrimmersTimerGoesOn()
    {
        TestPool test = Pool(o => (o.TrimInterval, o.IdleRetention) = (TimeSpan.FromSeconds(1), TimeSpan.Zero));
        for (int round = 1; round <= 2; round++)
        {
            test.Pool.Rent(Direct).Dispose();
            // The exception would be thrown from here: the fake clock runs its timers on this thread.
            _time.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal((round, round * Direct, round), (test.Statistics.UnmapFailures, test.Statistics.StrandedBytes, test.Statistics.Trims));
        }
        // Memory that stays mapped counts against the cap.
        Assert.Equal(2 * Direct, test.Statistics.OtherRegisteredBytes);
        Assert.Equal(2, _log.GetSnapshot().Count(r => r.Id.Id == 32 && r.Level == LogLevel.Error));
        await test.DisposeAsync();
    }

    [Fact]
    public async Task NeitherABuffersNorAPoolsDisposeThrowsAndTheContextIsReleased()
    {
        TestPool test = Pool(o => o.MaxIdleDirectBytes = 0);
        test.Pool.Rent(Direct).Dispose();
        test.Pool.Rent(1000).Dispose();
        await test.DisposeAsync();
        Assert.Equal(test.Statistics.RegisteredBytes, test.Statistics.StrandedBytes);
        Assert.Equal(2, test.Statistics.UnmapFailures);
        Assert.Equal(0, _context.Live);
        Assert.True(_context.WasClosed);
    }

    [Fact]
    public async Task ARegistrationThatFailsIsToldThoughItsPagesCantBeUnmapped()
    {
        await using TestPool test = Pool(_ => { });
        _context.BeforeRegister = (_, length) => throw CountingContext.Refusal(length);
        Assert.Throws<RmaRegistrationException>(() => test.Pool.Rent(Direct));
        Assert.Equal(Direct, test.Statistics.StrandedBytes);
        Assert.Equal(Direct, test.Statistics.RegisteredBytes);
    }

    [Fact]
    public async Task APoolThatCantGiveBackNeverTakesMoreThanItsCap()
    {
        await using TestPool test = Pool(o => (o.MaxRegisteredBytes, o.MaxIdleDirectBytes) = (2 * Direct, 0));
        test.Pool.Rent(Direct).Dispose();
        test.Pool.Rent(Direct).Dispose();
        RmaPoolExhaustedException error = Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Rent(Direct));
        Assert.Contains($"{InWords.Size(2 * Direct)} could not be given back", error.Message, StringComparison.Ordinal);
        Assert.Equal(2 * Direct, _blocks.Mapped);
    }

    [Fact]
    public async Task AProviderAndALoggerThatThrowStopNoDispose()
    {
        using ILoggerFactory throwing = LoggerFactory.Create(b => b.AddProvider(new ThrowingLoggers()));
        TestPool test = new(new ThrowingContext(_context), logging: throwing, blocks: _blocks);
        test.Pool.Rent(1000).Dispose();
        await test.DisposeAsync();
        Assert.Equal(1, test.Statistics.UnexpectedErrors);
        Assert.Equal(1, test.Statistics.UnmapFailures);
    }

    private TestPool Pool(Action<RmaMemoryPoolOptions> configure) => new(_context, configure, _time, _logging, _blocks);

    /// <summary>An allocator that fails as munmap(2) does at vm.max_map_count, if a mapping has to be split.</summary>
    private sealed class NeverUnmaps : IBlockAllocator
    {
        private readonly CountingAllocator _inner = new();

        public int PageSize => _inner.PageSize;

        public long Mapped => _inner.Mapped;

        public nint Allocate(long length, bool populate) => _inner.Allocate(length, populate);

        public void Free(nint address, long length) => throw new InvalidOperationException("It can't be unmapped.");
    }

    /// <summary>A third-party provider that throws when its last reference is released.</summary>
    private sealed class ThrowingContext(IRmaContext inner) : RmaContext
    {
        public override RmaProviderTraits Traits => inner.Traits;

        public override IRmaRegistration Register(nint address, long length, RmaAccess access) => inner.Register(address, length, access);

        public override void Deregister(IRmaRegistration registration) => inner.Deregister(registration);

        public override IRmaEndpoint OpenEndpoint() => inner.OpenEndpoint();

        protected override void Close() => throw new InvalidOperationException("It can't be closed.");
    }

    private sealed class ThrowingLoggers : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            throw new InvalidOperationException("It can't log.");

        public void Dispose()
        {
        }
    }
}
