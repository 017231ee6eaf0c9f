using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Integrity;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Tests writes and reads on each transport.</summary>
public abstract class TransferConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WriteReachesOnlyTheBlockThatWasExposed(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        RmaBuffer[] blocks = [.. Enumerable.Range(0, 8).Select(_ => pair.Right.Pool.Rent(16 << 10))];
        foreach (RmaBuffer block in blocks)
            block.Span.Fill(0x11);
        using (RmaExposure exposure = blocks[3].Expose(RmaAccess.RemoteWrite))
        using (RmaBuffer source = pair.Left.Pool.Rent(16 << 10))
        {
            RandomNumberGenerator.Fill(source.Span);
            using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
            await pair.Left.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
            await pair.AssertWrittenAsync(source, blocks[3]);
        }
        for (int i = 0; i < blocks.Length; i++)
        {
            if (i != 3)
                Assert.False(blocks[i].Span.ContainsAnyExcept((byte)0x11), $"block {i} changed");
            blocks[i].Dispose();
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task CheckedBlocksAreWrittenReadAndCompared(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        foreach (RmaIntegrity integrity in new[] { RmaIntegrity.Crc32C, RmaIntegrity.XxHash3 })
        {
            using var target = RmaCheckedMemory.Rent(pair.Right.Pool, 10_001, integrity, 512);
            using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
            using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
            using var source = RmaCheckedMemory.Rent(pair.Left.Pool, 10_001, integrity, 512);
            RandomNumberGenerator.Fill(source.GetSpan(0, 10_001));
            await pair.Left.Endpoint.WriteCheckedAsync(source, remote, 0, 10_001, cancellationToken: Token);
            await pair.AssertWrittenAsync(source.Buffer, target.Buffer);
            target.Verify();
            RandomNumberGenerator.Fill(source.GetSpan(1024, 1024));
            await pair.Left.Endpoint.WriteCheckedAsync(source, remote, 1024, 1024, cancellationToken: Token);
            await pair.AssertWrittenAsync(source.Buffer, target.Buffer);
            target.Verify(1024, 1024);
            using var back = RmaCheckedMemory.Rent(pair.Left.Pool, 10_001, integrity, 512);
            await pair.Left.Endpoint.ReadCheckedAsync(back, remote, 9728, 273, cancellationToken: Token);
            Assert.Equal(source.GetSpan(9728, 273), back.GetSpan(9728, 273));
            target.GetSpan(700, 1)[0] ^= 1;
            Assert.Equal(512, (await Assert.ThrowsAsync<RmaIntegrityException>(() => pair.Left.Endpoint.ReadCheckedAsync(back, remote, 0, 10_001, cancellationToken: Token).AsTask())).Offset);
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WriteAndReadAtOddOffsets(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        using RmaBuffer target = pair.Right.Pool.Rent(64 << 10);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(13, 50_001, RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RmaBuffer source = pair.Left.Pool.Rent(64 << 10);
        RandomNumberGenerator.Fill(source.Span);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, RemoteMemory.Read(exposure.Remote.ToArray()));

        await pair.Left.Endpoint.WriteAsync(source.Slice(7, 4097), remote.Slice(101, 4097), cancellationToken: Token);
        await pair.AssertWrittenAsync(source.Slice(7, 4097), target.Slice(114, 4097));
        Assert.False(target.GetSpan(0, 114).ContainsAnyExcept((byte)0));
        Assert.False(target.GetSpan(114 + 4097, target.Length - 114 - 4097).ContainsAnyExcept((byte)0));

        using RmaBuffer back = pair.Left.Pool.Rent(64 << 10);
        back.Span.Clear();
        await pair.Left.Endpoint.ReadAsync(back.Slice(33, 4001), remote.Slice(103, 4001), cancellationToken: Token);
        Assert.True(back.GetSpan(33, 4001).SequenceEqual(source.GetSpan(9, 4001)));
        Assert.False(back.GetSpan(0, 33).ContainsAnyExcept((byte)0));
        Assert.False(back.GetSpan(33 + 4001, 100).ContainsAnyExcept((byte)0));
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task EmptyWritesAndReadsComplete(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.OperationTimeout = TestTime.Seconds(5));
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        target.Span.Fill(3);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        source.Span.Clear();
        await pair.Left.Endpoint.WriteAsync(source.Slice(0, 0), remote, cancellationToken: Token);
        await pair.Left.Endpoint.ReadAsync(source.Slice(64, 0), remote, cancellationToken: Token);
        Assert.False(target.Span.ContainsAnyExcept((byte)3));
        Assert.False(source.Span.ContainsAnyExcept((byte)0));
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ManyOperationsInFlightAllArrive(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 32);
        const int Count = 200;
        const int Size = 8 << 10;
        using RmaBuffer target = pair.Right.Pool.Rent(Count * Size);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        RmaBuffer[] sources = [.. Enumerable.Range(0, Count).Select(_ => pair.Left.Pool.Rent(Size))];
        await Task.WhenAll(sources.Select((source, i) =>
        {
            source.Span.Fill((byte)i);
            return pair.Left.Endpoint.WriteAsync(source, remote.Slice((long)i * Size, Size), cancellationToken: Token).AsTask();
        }));
        for (int i = 0; i < Count; i++)
        {
            await pair.AssertWrittenAsync(sources[i], target.Slice((long)i * Size, Size));
            sources[i].Dispose();
        }
        Assert.Equal(0, pair.Left.BuffersOut);
    }

    // More than many transports move at once, and than the largest size class. No page of the caller's memory has been
    // touched yet.
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task TheCallersMemoryAndRegionsOfTheirOwnAreSourceAndTargetInAsManyPartsAsItTakes(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        const int Length = (1 << 20) + 4099;
        byte[] untouched = GC.AllocateUninitializedArray<byte>(Length, pinned: true);
        using RmaBuffer own = pair.Left.Pool.Register(untouched.AsMemory(3));
        using RmaBuffer large = pair.Right.Pool.Rent(Length - 3);
        RandomNumberGenerator.Fill(large.Span);
        using (RmaExposure exposure = large.Expose(RmaAccess.RemoteRead))
        using (RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote))
            await pair.Left.Endpoint.ReadAsync(own, remote, cancellationToken: Token);
        Assert.True(untouched.AsSpan(3).SequenceEqual(large.Span));

        RandomNumberGenerator.Fill(large.Span);
        using (RmaExposure exposure = own.Expose(17, Length - 20, RmaAccess.RemoteWrite))
        using (RemoteRegion remote = pair.Right.Endpoint.Import(pair.Right.Peer, exposure.Remote))
        {
            await pair.Right.Endpoint.WriteAsync(large.Slice(5, Length - 30), remote.Slice(4, Length - 30), cancellationToken: Token);
            await pair.AssertWrittenAsync(large.Slice(5, Length - 30), own.Slice(21, Length - 30));
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task NothingReachesMemoryWhoseExposureHasEnded(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.OperationTimeout = TestTime.Seconds(5), o => o.Isolation = RmaIsolation.PerExposure);
        if (!pair.Traits.RemoteAccessEnforced)
            return;
        using RmaBuffer target = pair.Right.Pool.Rent(1000);
        target.Span.Fill(1);
        using RmaBuffer source = pair.Left.Pool.Rent(1000);
        source.Span.Fill(2);
        RemoteRegion remote;
        using (RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite))
            remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using (remote)
        {
            Exception? error = await Record.ExceptionAsync(() => pair.Left.Endpoint.WriteAsync(source, remote, cancellationToken: Token).AsTask());
            if (pair.Traits.DeliveryComplete)
                Assert.IsAssignableFrom<RmaOperationException>(error);
        }
        Assert.False(target.Span.ContainsAnyExcept((byte)1));
    }
}
