using AllocTools.Blocks;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>
/// Tests system limits at which the kernel or the runtime ends a process: the pool refuses to grow before it reaches
/// them.
/// </summary>
public sealed class SystemLimitTests
{
    private const long MiB = 1 << 20;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private readonly Populated _blocks = new();
    private readonly FakeLogCollector _logs = new();
    private readonly MemoryRoom _room;
    private CgroupMemory? _group = new(256 * MiB, 200 * MiB, "/group/memory.max");

    public SystemLimitTests() => _room = new MemoryRoom(() => _group);

    [Fact]
    public void ACapThatNobodySetFitsWhatTheControlGroupLeaves()
    {
        using RmaMemoryPool<HostProvider> pool = Open(_ => { });
        // A quarter of the limit is subtracted.
        Assert.Equal((136 * MiB, 136 * MiB), (pool.Options.MaxRegisteredBytes, pool.GetStatistics().LimitBytes));
        Assert.Equal(
            "Pool 'limited' can't be sure to grow to its cap: MaxRegisteredBytes is not set, and of the control group's memory limit, 256 MiB, 200 MiB are left (/group/memory.max): it is 136 MiB instead of 1 GiB.",
            Assert.Single(_logs.GetSnapshot(), r => r.Id.Id == 16).Message);
        pool.Reconfigure(new RmaMemoryPoolOptions());
        Assert.Equal(136 * MiB, pool.GetStatistics().LimitBytes);
    }

    [Theory]
    [InlineData(64, 60, 15)]
    [InlineData(128, 4, 1)]
    [InlineData(4096, 3000, 1024)]
    [InlineData(4096, 1500, 476)]
    public void TheDefaultCapLeavesRoomForTheTransportAndTheManagedHeap(long limit, long left, long cap) =>
        Assert.Equal(cap * MiB, MemoryRoom.DefaultCap(new CgroupMemory(limit * MiB, left * MiB, ""), usual: 1024 * MiB));

    [Fact]
    public void GrowthThatTheControlGroupCantHoldIsRefusedAndThePoolServesOn()
    {
        using RmaMemoryPool<HostProvider> pool = Open(o => o.MaxRegisteredBytes = 100 * MiB);
        Assert.Equal(100 * MiB, pool.Options.MaxRegisteredBytes);
        RmaBuffer first = pool.Rent(2 * MiB);
        // 16 of the 256 MiB are kept for the rest of the process.
        _group = _group! with { Available = 20 * MiB };
        var error = Assert.Throws<RmaRegistrationException>(() => pool.Rent(5 * MiB));
        Assert.Equal(
            ("ENOMEM", "The pool can't grow by 5 MiB: the control group's memory limit is 256 MiB, and 20 MiB are left (/group/memory.max), of which 16 MiB are kept for the rest of the process. "
                + "The kernel ends a process that exceeds the limit. Return buffers sooner, lower MaxRegisteredBytes, or raise the container's limit."),
            (error.ErrorName, error.Message));
        Assert.Equal(2 * MiB, pool.GetStatistics().RegisteredBytes);
        pool.Rent(4 * MiB).Dispose();
        first.Dispose();
        pool.Rent(2 * MiB).Dispose();
        _group = _group with { Available = 30 * MiB };
        pool.Rent(5 * MiB).Dispose();
    }

    [Fact]
    public async Task WhatAnotherPoolIsHavingBackedAtTheMomentIsNotLeft()
    {
        using RmaMemoryPool<HostProvider> one = Open(o => o.MaxRegisteredBytes = 100 * MiB);
        using RmaMemoryPool<HostProvider> other = Open(o => o.MaxRegisteredBytes = 100 * MiB);
        // 4 MiB besides the 16 that are kept.
        _group = _group! with { Available = 20 * MiB };
        using ManualResetEventSlim entered = new();
        using ManualResetEventSlim released = new();
        _blocks.Entering = () =>
        {
            _blocks.Entering = null;
            entered.Set();
            released.Wait(Token);
        };
        Task<RmaBuffer> growing = Task.Run(() => one.Rent(3 * MiB), Token);
        entered.Wait(Token);
        var error = Assert.Throws<RmaRegistrationException>(() => other.Rent(3 * MiB));
        Assert.Contains("of which 16 MiB are kept for the rest of the process and 3 MiB are being taken by other threads.", error.Message, StringComparison.Ordinal);
        released.Set();
        (await growing).Dispose();
        other.Rent(3 * MiB).Dispose();
    }

    [Fact]
    public void GrowthThatFailsTakesNothing()
    {
        using RmaMemoryPool<HostProvider> pool = Open(o => o.MaxRegisteredBytes = 100 * MiB);
        _group = _group! with { Available = 20 * MiB };
        _blocks.Entering = () => throw new InsufficientMemoryException("no page");
        Assert.Throws<RmaRegistrationException>(() => pool.Rent(3 * MiB));
        _blocks.Entering = null;
        pool.Rent(3 * MiB).Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void MemoryIsBackedWhereTheControlGroupHasALimitSoThatItsUsageIsTrue(bool isLimited)
    {
        if (!isLimited)
            _group = null;
        using RmaMemoryPool<HostProvider> pool = Open(o => o.MaxRegisteredBytes = 100 * MiB);
        pool.Rent(2 * MiB).Dispose();
        Assert.Equal([isLimited], _blocks.Asked);
    }

    [Fact]
    public async Task ThePoolStopsGrowingBeforeTheProcessHasAllMappingsThatItMayHave()
    {
        await using var process = new PeerProcess("mappings");
        string output = await process.ReadToEndAsync();
        Assert.Matches("refused: ENOMEM: vm.max_map_count is [0-9]+ and this process has [0-9]+ mappings; a .NET process that runs out of them is aborted. Raise it on the host: sysctl", output);
        Assert.Contains("served", output, StringComparison.Ordinal);
    }

    private RmaMemoryPool<HostProvider> Open(Action<RmaMemoryPoolOptions> configure)
    {
        var options = new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero };
        configure(options);
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        using var logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(_logs)));
        return new RmaMemoryPool<HostProvider>(context, options, "limited", logging, _blocks, timeProvider: null, _room);
    }

    private sealed class Populated : IBlockAllocator
    {
        private readonly PageAllocator _inner = new();

        public List<bool> Asked { get; } = [];

        public Action? Entering { get; set; }

        public int PageSize => _inner.PageSize;

        public nint Allocate(long length, bool populate)
        {
            lock (Asked)
                Asked.Add(populate);
            Entering?.Invoke();
            return _inner.Allocate(length, populate);
        }

        public void Free(nint address, long length) => _inner.Free(address, length);
    }
}
