using AllocTools.Endpoints;
using AllocTools.Endpoints.Integrity;
using CsCheck;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>Tests checked operations when a bit is flipped in the data that they move, or in memory.</summary>
public sealed class DamagedOperationTests
{
    private const int Block = 64;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static Gen<(int Length, int First, int Count, int K, long Bit)> Writes =>
        Gen.Select(Gen.Int[1, 500], Gen.Int[0, 7], Gen.Int[1, 8], Gen.Int[1, 2], Gen.Long[0, 1 << 16]).Where(static g => g.Item2 * Block < g.Item1);

    [Theory]
    [InlineData(RmaIntegrity.Crc32C)]
    [InlineData(RmaIntegrity.XxHash3)]
    public async Task AnyFlippedBitOfAWriteIsReportedWhereItCameTo(RmaIntegrity integrity)
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        await Writes.SampleAsync(
            async one =>
            {
                using var source = RmaCheckedMemory.Rent(pair.Left.Pool, one.Length, integrity, Block);
                using var target = RmaCheckedMemory.Rent(pair.Right.Pool, one.Length, integrity, Block);
                using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
                using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
                Random.Shared.NextBytes(source.GetSpan(0, one.Length));
                (long offset, long length, int k) = Arrange(one);
                world.Flip(k, one.Bit);
                await pair.Left.Endpoint.WriteCheckedAsync(source, region, offset, length, cancellationToken: Token);
                Assert.NotEqual(0, world.Flipped);
                AssertDamaged(Assert.Throws<RmaIntegrityException>(() => target.Verify(offset, length)), offset, length);
                // After another write, the blocks are intact.
                await pair.Left.Endpoint.WriteCheckedAsync(source, region, offset, length, cancellationToken: Token);
                target.Verify();
                Assert.Equal(source.GetSpan(offset, length), target.GetSpan(offset, length));
            },
            iter: 300, threads: 1);
    }

    [Theory]
    [InlineData(RmaIntegrity.Crc32C)]
    [InlineData(RmaIntegrity.XxHash3)]
    public async Task AnyFlippedBitOfAReadIsReported(RmaIntegrity integrity)
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        await Writes.SampleAsync(
            async one =>
            {
                using var here = RmaCheckedMemory.Rent(pair.Left.Pool, one.Length, integrity, Block);
                using var there = RmaCheckedMemory.Rent(pair.Right.Pool, one.Length, integrity, Block);
                using RmaExposure exposure = there.Expose(RmaAccess.RemoteRead);
                using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
                Random.Shared.NextBytes(there.GetSpan(0, one.Length));
                there.Seal();
                (long offset, long length, int k) = Arrange(one);
                world.Flip(k, one.Bit);
                Task reading = pair.Left.Endpoint.ReadCheckedAsync(here, region, offset, length, cancellationToken: Token).AsTask();
                AssertDamaged(await Assert.ThrowsAsync<RmaIntegrityException>(() => reading), offset, length);
                await pair.Left.Endpoint.ReadCheckedAsync(here, region, offset, length, cancellationToken: Token);
                Assert.Equal(there.GetSpan(offset, length), here.GetSpan(offset, length));
                // Damage at rest, in data or tags.
                there.Buffer.Span[(int)(one.Bit / 8 % there.Buffer.Length)] ^= 1;
                Assert.Throws<RmaIntegrityException>(there.Verify);
                await Assert.ThrowsAsync<RmaIntegrityException>(() => pair.Left.Endpoint.ReadCheckedAsync(here, region, 0, one.Length, cancellationToken: Token).AsTask());
            },
            iter: 300, threads: 1);
    }

    [Theory]
    [InlineData(RmaIntegrity.Crc32C)]
    [InlineData(RmaIntegrity.XxHash3)]
    public async Task AnyFlippedBitOfAMessageIsReported(RmaIntegrity integrity)
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer from = pair.Left.Pool.Rent(1024);
        using RmaBuffer to = pair.Right.Pool.Rent(1024);
        await Gen.Select(Gen.Int[0, 1000], Gen.Long[0, 1 << 14]).SampleAsync(
            async (length, bit) =>
            {
                Random.Shared.NextBytes(from.Span);
                RmaSlice message = from.Slice(0, length + RmaCheckedExtensions.TrailerLength);
                for (int i = 0; i < 2; i++)
                {
                    Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveCheckedAsync(to, integrity, cancellationToken: Token).AsTask();
                    if (i == 0)
                        world.Flip(1, bit);
                    await pair.Left.Endpoint.SendCheckedAsync(message, pair.Left.Peer, integrity, cancellationToken: Token);
                    if (i == 0)
                    {
                        RmaIntegrityException error = await Assert.ThrowsAsync<RmaIntegrityException>(() => receiving);
                        Assert.Equal((0, length), (error.Offset, error.Length));
                        continue;
                    }
                    Assert.Equal(length, (await receiving).Length);
                    Assert.Equal(from.Span[..length], to.Span[..length]);
                }
            },
            iter: 300, threads: 1);
    }

    [Fact]
    public async Task WithoutCheckValuesAFlippedBitIsNotReported()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer from = pair.Left.Pool.Rent(64);
        using RmaBuffer to = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = to.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        from.Span.Clear();
        world.Flip(1, 9);
        await pair.Left.Endpoint.WriteAsync(from, region, cancellationToken: Token);
        Assert.Equal(2, to.Span[1]);
        world.Flip(1, 9);
        await pair.Left.Endpoint.ReadAsync(from, region, cancellationToken: Token);
        Assert.Equal(0, from.Span[1]);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(to, cancellationToken: Token).AsTask();
        world.Flip(1, 9);
        await pair.Left.Endpoint.SendAsync(from, pair.Left.Peer, cancellationToken: Token);
        await receiving;
        Assert.Equal(2, to.Span[1]);
    }

    [Fact]
    public async Task BytesOfAnotherPlaceAndOtherCheckValuesAreReported()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using var memory = RmaCheckedMemory.Rent(pair.Left.Pool, 3 * Block, RmaIntegrity.Crc32C, Block);
        memory.GetSpan(0, 1)[0] = 7;
        memory.Seal(0, Block);
        // The second block, with its own tag, is moved to the place of the first.
        memory.GetSpan(Block, Block).CopyTo(memory.GetSpan(0, Block));
        memory.Buffer.GetSpan(3 * Block + 8, 8).CopyTo(memory.Buffer.GetSpan(3 * Block, 8));
        Assert.Equal(0, Assert.Throws<RmaIntegrityException>(memory.Verify).Offset);
        memory.Seal();
        memory.Verify();

        using RmaBuffer message = pair.Left.Pool.Rent(64);
        using RmaBuffer room = pair.Right.Pool.Rent(64);
        foreach (int length in new[] { 4, 64 })
        {
            Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveCheckedAsync(room, RmaIntegrity.XxHash3, cancellationToken: Token).AsTask();
            await pair.Left.Endpoint.SendAsync(message.Slice(0, length), pair.Left.Peer, cancellationToken: Token);
            await Assert.ThrowsAsync<RmaIntegrityException>(() => receiving);
        }
    }

    [Fact]
    public async Task WhatDoesNotFitIsRefused()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using var memory = RmaCheckedMemory.Rent(pair.Left.Pool, 100, RmaIntegrity.Crc32C, Block);
        using var other = RmaCheckedMemory.Rent(pair.Right.Pool, 200, RmaIntegrity.Crc32C, Block);
        using RmaExposure exposure = other.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        foreach ((long offset, long length) in new[] { (0L, 0L), (1L, 64L), (0L, 63L), (64L, 30L) })
            Assert.Contains("whole blocks", Assert.Throws<ArgumentException>(() => memory.Verify(offset, length)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => memory.Verify(0, 128));
        Assert.Throws<ArgumentOutOfRangeException>(() => RmaCheckedMemory.Rent(pair.Left.Pool, 100, RmaIntegrity.None));
        Assert.Throws<ArgumentOutOfRangeException>(() => RmaCheckedMemory.Rent(pair.Left.Pool, 100, RmaIntegrity.Crc32C, 100));
        ArgumentException error = await Assert.ThrowsAsync<ArgumentException>(() => pair.Left.Endpoint.WriteCheckedAsync(memory, region, 0, 100, cancellationToken: Token).AsTask());
        Assert.Contains("232 bytes with its tags, and this side's 120 bytes", error.Message, StringComparison.Ordinal);
        using RmaBuffer message = pair.Left.Pool.Rent(7);
        await Assert.ThrowsAsync<ArgumentException>(() => pair.Left.Endpoint.SendCheckedAsync(message, pair.Left.Peer, RmaIntegrity.Crc32C, cancellationToken: Token).AsTask());
    }

    /// <summary>Picks whole blocks of the memory, and which of the operations that move them is damaged.</summary>
    private static (long Offset, long Length, int K) Arrange((int Length, int First, int Count, int K, long Bit) one)
    {
        long offset = one.First * Block, length = Math.Min(one.Count * Block, one.Length - offset);
        return (offset, length, length == one.Length ? 1 : one.K);
    }

    private static void AssertDamaged(RmaIntegrityException error, long offset, long length)
    {
        Assert.InRange(error.Offset, offset, offset + length - 1);
        Assert.NotEqual(error.Expected, error.Found);
    }
}
