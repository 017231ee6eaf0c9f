using AllocTools.Endpoints;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AllocTools.Verbs;

/// <summary>Tests that the pool's statistics match what the kernel has pinned, at each step.</summary>
[Collection(Verbs.OneAtATime)]
public sealed class PinningTests
{
    private static readonly long PageSize = Environment.SystemPageSize;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task EachStepPinsWhatTheBooksSay()
    {
        Assert.Equal(0, Verbs.PinnedBytes);
        using IRmaContext context = Fabric.Open(Verbs.Fabric);
        Assert.True(context.Traits.LocksPages);
        long before = Verbs.PinnedBytes;
        FakeTimeProvider time = new();
        await using var pool = new RmaMemoryPool<LibfabricProvider>(
            context,
            new RmaMemoryPoolOptions { IdleRetention = TimeSpan.FromSeconds(60), TrimInterval = TimeSpan.FromSeconds(10), DrainTimeout = TimeSpan.Zero },
            timeProvider: time);
        List<RmaBuffer> rented = [];
        foreach (long length in new long[] { 1, 4096, 64 << 10, 64 << 10, 1 << 20, 1 << 20, 1 << 20, (1 << 20) + 1, 5_000_000, 64 << 20 })
        {
            rented.Add(pool.Rent(length));
            Report($"rent {length}");
        }
        long most = Verbs.PinnedBytes;
        foreach (RmaBuffer buffer in rented)
            buffer.Dispose();
        Report("return all");
        for (int i = 0; i < 12; i++)
        {
            time.Advance(TimeSpan.FromSeconds(10));
            Report($"{(i + 1) * 10} s later");
        }
        Assert.True(Verbs.PinnedBytes < most / 10, $"{Verbs.PinnedBytes} of {most} bytes stay pinned after trimming");
        await pool.DisposeAsync();
        Assert.Equal(before, Verbs.PinnedBytes);
        context.Dispose();
        Assert.Equal(0, Verbs.PinnedBytes);

        void Report(string step)
        {
            long pinned = Verbs.PinnedBytes - before;
            TestContext.Current.TestOutputHelper!.WriteLine($"{step}: {pinned} bytes pinned, {pool.GetStatistics().RegisteredBytes} in the statistics");
            Assert.Equal(pool.GetStatistics().RegisteredBytes, pinned);
        }
    }

    [Fact]
    public void AnExposureWithARegistrationOfItsOwnIsPinnedAgainUntilItEnds()
    {
        using IRmaContext context = Fabric.Open(Verbs.Fabric);
        using var pool = new RmaMemoryPool<LibfabricProvider>(
            context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, Isolation = RmaIsolation.PerExposure, DrainTimeout = TimeSpan.Zero });
        using RmaBuffer buffer = pool.Rent(4 * PageSize);
        long before = Verbs.PinnedBytes;
        using (buffer.Expose(0, 2 * PageSize, RmaAccess.RemoteWrite))
            Assert.Equal(before + (2 * PageSize), Verbs.PinnedBytes);
        Assert.Equal(before, Verbs.PinnedBytes);
    }

    [Fact]
    public void MemoryOfTheCallersOwnIsPinnedByWholePagesUntilItIsReturned()
    {
        using IRmaContext context = Fabric.Open(Verbs.Fabric);
        using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        long before = Verbs.PinnedBytes;
        byte[] own = GC.AllocateArray<byte>(1_000_000, pinned: true);
        using (RmaBuffer buffer = pool.Register(own.AsMemory(123, 900_000)))
        {
            long first = buffer.Address / PageSize * PageSize;
            long end = (buffer.Address + 900_000 + PageSize - 1) / PageSize * PageSize;
            Assert.Equal(before + end - first, Verbs.PinnedBytes);
        }
        Assert.Equal(before, Verbs.PinnedBytes);
    }

    [Fact]
    public void MemoryThatIsNotMappedIsRefusedAndNothingStaysPinned()
    {
        using IRmaContext context = Fabric.Open(Verbs.Fabric);
        using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        pool.Rent(4096).Dispose();
        long before = Verbs.PinnedBytes;
        // Both the pool, which checks the memory's rights, and the device itself refuse.
        RmaRegistrationException error = Assert.Throws<RmaRegistrationException>(() => pool.Register((nint)PageSize, 16 * PageSize));
        Assert.Equal(("register", "EFAULT"), (error.Operation, error.ErrorName));
        Assert.Contains("not mapped", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<RmaRegistrationException>(() => context.Register((nint)PageSize, 16 * PageSize, RmaAccess.Local));
        Assert.Equal(("fi_mr_regattr", "FI_EFAULT"), (error.Operation, error.ErrorName));
        Assert.Contains("not mapped", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, Verbs.PinnedBytes);
        Assert.Equal(0, pool.GetStatistics().RegisteredBytes - before);
        pool.Rent(4096).Dispose();
    }

    [Fact]
    public async Task WhatTheTransportPinsForItselfIsAboutWhatTheTraitsSayAndGoesWithTheEndpoint()
    {
        using IRmaContext context = Fabric.Open(Verbs.Fabric);
        await using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        using (IRmaEndpoint endpoint = context.OpenEndpoint())
        {
            RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
            using RmaBuffer source = pool.Rent(64 << 10);
            using RmaBuffer target = pool.Rent(64 << 10);
            using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
            using RemoteRegion region = endpoint.Import(self, exposure.Remote);
            source.Span.Fill(7);
            await endpoint.WriteAsync(source, region, TimeSpan.FromSeconds(60), Token);
            Assert.False(target.Span.ContainsAnyExcept((byte)7));
            long besides = Verbs.PinnedBytes - pool.GetStatistics().RegisteredBytes;
            TestContext.Current.TestOutputHelper!.WriteLine($"{besides} bytes pinned besides the pool's, {context.Traits.TransportPinnedBytes} in the traits");
            // The endpoint is connected to itself, so it has both ends of a connection.
            Assert.InRange(besides, context.Traits.TransportPinnedBytes / 4, context.Traits.TransportPinnedBytes * 3);
        }
        Assert.Equal(pool.GetStatistics().RegisteredBytes, Verbs.PinnedBytes);
        await pool.DisposeAsync();
        context.Dispose();
        Assert.Equal(0, Verbs.PinnedBytes);
    }

    [Fact]
    public void KeysAndDescriptorsAreTheProviders()
    {
        using IRmaContext context = Fabric.Open(Verbs.Fabric);
        Assert.True(context.Traits.ProviderSelectsKey);
        Assert.Equal(4, context.Traits.KeySize);
        Assert.True(context.Traits.LocalDescriptorRequired);
        Assert.True(context.Traits.PagesBackedBeforeRegistering);
        Assert.Equal(8 << 20, context.Traits.MaxMessageSize);
        using var pool = new RmaMemoryPool<LibfabricProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        using RmaBuffer buffer = pool.Rent(4096);
        Assert.NotEqual(0, buffer.LocalDescriptor);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        Assert.True(exposure.Remote.Key <= uint.MaxValue);
    }
}
