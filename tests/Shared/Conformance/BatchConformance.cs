using System.Security.Cryptography;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>Tests on each transport that a batch runs all of its operations, and names the one that fails.</summary>
public abstract class BatchConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ABatchIsBuiltOnceAndRunManyTimes(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        await RunsManyTimes(pair, count: 200, length: 1000);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ABatchOfManyMoreThanMayBeOutstandingMovesThemAll(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 64);
        await RunsManyTimes(pair, count: 5000, length: 48);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task BatchesAndSingleOperationsRunAtTheSameTime(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 16);
        const int Count = 300;
        const int Length = 64;
        using RmaBuffer target = pair.Right.Pool.Rent(3 * Count * Length);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(3 * Count * Length);
        RandomNumberGenerator.Fill(source.Span);
        RmaBatch[] batches = [pair.Left.Endpoint.CreateBatch(), pair.Left.Endpoint.CreateBatch(capacity: Count)];
        for (int i = 0; i < 2 * Count; i++)
            batches[i % 2].Write(source.Slice(i * Length, Length), remote.Slice(i * Length, Length));
        Task[] running = [.. batches.Select(b => b.RunAsync(cancellationToken: Token).AsTask())];
        for (int i = 2 * Count; i < 3 * Count; i++)
            await pair.Left.Endpoint.WriteAsync(source.Slice(i * Length, Length), remote.Slice(i * Length, Length), cancellationToken: Token);
        await Task.WhenAll(running);
        await pair.AssertWrittenAsync(source, target);
        Assert.Equal(3 * Count, pair.Left.Endpoint.GetStatistics().Operations[(int)RmaOperationKind.Write].Succeeded);
        // The last slot may become free slightly later than its result is available.
        Assert.True(SpinWait.SpinUntil(() => pair.Left.Endpoint.GetStatistics() is { Outstanding: 0, Pending: 0 }, TestTime.Seconds(30)));
    }

    /// <summary>Operations of a batch take the slots of those that were cancelled before.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ABatchIsNotCancelledByWhatWasCancelledBefore(string mode)
    {
        const int Slots = 4;
        await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = Slots);
        using RmaBuffer unused = pair.Left.Pool.Rent(Slots * 64);
        using CancellationTokenSource cancel = new();
        Task[] receives = [.. Enumerable.Range(0, Slots).Select(i => pair.Left.Endpoint.ReceiveAsync(unused.Slice(i * 64, 64), cancellationToken: cancel.Token).AsTask())];
        await cancel.CancelAsync();
        foreach (Task receive in receives)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => receive);
        await RunsManyTimes(pair, count: 20, length: 50);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ABatchMixesMessagesReadsWritesAndNothing(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        const int Length = 500;
        using RmaBuffer target = pair.Right.Pool.Rent(2 * Length);
        RandomNumberGenerator.Fill(target.Span);
        byte[] theirs = target.GetSpan(0, Length).ToArray();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(Length);
        RandomNumberGenerator.Fill(source.Span);
        using RmaBuffer back = pair.Left.Pool.Rent(Length);
        RmaBatch batch = pair.Left.Endpoint.CreateBatch();
        Assert.Equal(0, batch.Write(source.Slice(0, 0), remote.Slice(0, 0)));
        Assert.Equal(1, batch.Read(back, remote.Slice(0, Length)));
        Assert.Equal(2, batch.Write(source, remote.Slice(Length, Length)));
        Assert.Equal(3, batch.Send(source.Slice(0, 100), pair.Left.Peer));
        Assert.Equal(4, batch.Send(source.Slice(100, 100), pair.Left.Peer));
        Assert.Equal(5, batch.Read(back.Slice(0, 0), remote.Slice(0, 0)));
        Assert.Equal(6, batch.Count);
        for (int run = 0; run < 3; run++)
        {
            back.Span.Clear();
            using RmaBuffer first = pair.Right.Pool.Rent(Length);
            using RmaBuffer second = pair.Right.Pool.Rent(Length);
            Task<RmaReceiveResult> receivesFirst = pair.Right.Endpoint.ReceiveAsync(first, cancellationToken: Token).AsTask();
            Task<RmaReceiveResult> receivesSecond = pair.Right.Endpoint.ReceiveAsync(second, cancellationToken: Token).AsTask();
            await batch.RunAsync(cancellationToken: Token);
            Assert.True(back.Span.SequenceEqual(theirs));
            await pair.AssertWrittenAsync(source, target.Slice(Length, Length));
            Assert.Equal((100, 100), ((await receivesFirst).Length, (await receivesSecond).Length));
            Assert.True(first.GetSpan(0, 100).SequenceEqual(source.GetSpan(0, 100)));
            Assert.True(second.GetSpan(0, 100).SequenceEqual(source.GetSpan(100, 100)));
        }
        batch.Clear();
        Assert.Equal(0, batch.Count);
        await batch.RunAsync(cancellationToken: Token);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task TheFirstThatFailsIsNamedWhicheverItIs(string mode)
    {
        const int Count = 5;
        for (int k = 0; k < Count; k++)
        {
            // One operation at a time: if a target closes the connection, everything else outstanding would fail with it.
            await using var pair = new ConformingPair<TTransport>(mode, o => o.MaxOutstanding = 1, p => p.Isolation = RmaIsolation.PerExposure);
            // shm of 1.17 completes nothing that it refuses; at Transmit, tcp;ofi_rxm and net complete what the target refuses.
            if (!pair.Traits.RemoteAccessEnforced || !pair.Traits.DeliveryComplete || pair.Traits.ProviderName == "shm")
                return;
            using RmaBuffer target = pair.Right.Pool.Rent(64);
            using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
            using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
            using RmaBuffer other = pair.Right.Pool.Rent(64);
            RmaExposure ended = other.Expose(RmaAccess.RemoteWrite);
            using RemoteRegion gone = pair.Left.Endpoint.Import(pair.Left.Peer, ended.Remote);
            ended.Dispose();
            using RmaBuffer source = pair.Left.Pool.Rent(64);
            RmaBatch batch = pair.Left.Endpoint.CreateBatch();
            for (int i = 0; i < Count; i++)
                batch.Write(source, i == k ? gone : remote);
            RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(cancellationToken: Token).AsTask());
            Assert.Equal((k, k), (error.Index, error.Completed));
            RmaOperationException inner = Assert.IsAssignableFrom<RmaOperationException>(error.InnerException);
            Assert.Equal((inner.ErrorCode, inner.ErrorName, inner.IsTransient), (error.ErrorCode, error.ErrorName, error.IsTransient));
            Assert.StartsWith($"Operation {k} of a batch of {Count} failed: Write of 64 bytes failed", error.Message, StringComparison.Ordinal);
            Assert.EndsWith($" {k} have completed, {Count - k - 1} were not started.", error.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Operations that were valid when they were added, and no longer are when the batch is run.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ABatchThatCantBeStartedNamesTheOperation(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode);
        IRmaEndpoint endpoint = pair.Left.Endpoint;
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(pair.Left.Peer, exposure.Remote);
        RmaBuffer source = pair.Left.Pool.Rent(64);

        RmaBuffer returned = pair.Left.Pool.Rent(64);
        RmaBatch batch = endpoint.CreateBatch();
        batch.Write(source, remote);
        batch.Write(returned, remote);
        batch.Write(returned, remote);
        returned.Dispose();
        AssertNames<InvalidOperationException>(batch, "Operation 1 of a batch of 3 can't be started: This buffer of pool 'default' was returned");

        RemoteRegion released = endpoint.Import(pair.Left.Peer, exposure.Remote);
        batch.Clear();
        batch.Write(source, remote);
        batch.Write(source, remote);
        batch.Write(source, released);
        released.Dispose();
        AssertNames<ObjectDisposedException>(batch, $"Operation 2 of a batch of 3 can't be started: The RemoteRegion is disposed: 64 bytes of {pair.Left.Peer}.");

        RmaPeer itself = endpoint.InsertPeer(endpoint.Address.Span);
        batch.Clear();
        batch.Write(source, remote);
        batch.Send(source, itself);
        endpoint.RemovePeer(itself);
        AssertNames<InvalidOperationException>(batch, $"Operation 1 of a batch of 2 can't be started: peer {itself.Handle} of provider '{pair.Traits.ProviderName}', removed.");

        // Nothing is left held, and the batch can be used again.
        batch.Clear();
        batch.Write(source, remote);
        await batch.RunAsync(cancellationToken: Token);
        source.Return();
    }

    private static void AssertNames<TError>(RmaBatch batch, string start)
        where TError : Exception =>
        Assert.StartsWith(start, Assert.Throws<TError>(() => { _ = batch.RunAsync(cancellationToken: Token).AsTask(); }).Message, StringComparison.Ordinal);

    private static async Task RunsManyTimes(ConformingPair<TTransport> pair, int count, int length)
    {
        using RmaBuffer target = pair.Right.Pool.Rent(count * length);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(count * length);
        using RmaBuffer back = pair.Left.Pool.Rent(count * length);
        RmaBatch writes = pair.Left.Endpoint.CreateBatch();
        RmaBatch reads = pair.Left.Endpoint.CreateBatch();
        // From the end of one buffer to the start of the other.
        for (int i = 0; i < count; i++)
        {
            writes.Write(source.Slice((count - 1 - i) * length, length), remote.Slice(i * length, length));
            reads.Read(back.Slice((count - 1 - i) * length, length), remote.Slice(i * length, length));
        }
        for (int run = 0; run < 3; run++)
        {
            RandomNumberGenerator.Fill(source.Span);
            await writes.RunAsync(cancellationToken: Token);
            for (int i = 0; i < count; i++)
                await pair.AssertWrittenAsync(source.Slice((count - 1 - i) * length, length), target.Slice(i * length, length));
            await reads.RunAsync(cancellationToken: Token);
            Assert.True(back.Span.SequenceEqual(source.Span), $"run {run}");
        }
        RmaOperationStatistics written = pair.Left.Endpoint.GetStatistics().Operations[(int)RmaOperationKind.Write];
        Assert.Equal((3L * count, 3L * count * length, 0L), (written.Succeeded, written.Bytes, written.Failed));
    }
}
