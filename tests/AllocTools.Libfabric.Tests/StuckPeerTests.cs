using System.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests locks in shm, whose processes lock each other's memory: a killed process may leave its lock behind. Here the
/// test takes the lock.
/// </summary>
public sealed class StuckPeerTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(Fabric.SharedMemoryByAddress)]
    [InlineData(Fabric.SharedMemoryByOffset)]
    public async Task OperationsTimeOutAreCancelledAndTheEndpointClosesThoughTheTransportIsStuck(string fabric)
    {
        TimeSpan timeout = TimeSpan.FromSeconds(1);
        await using LocalSide side = await FabricProcesses.StartAsync(fabric, configure: o => o.Endpoint.OperationTimeout = timeout);
        await side.Process.AskAsync("rent 65536 0");
        using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 65536));
        RmaBuffer[] buffers = [.. Enumerable.Range(0, 3).Select(_ => side.Pool.Rent(65536))];
        await side.Endpoint.WriteAsync(buffers[0], remote, cancellationToken: Token);
        await side.Process.SuspendAsync();
        var clock = Stopwatch.StartNew();
        using (SharedMemoryLock? held = SharedMemoryLock.TryTake(side.Process.Id))
        {
            ValueTask posted = side.Endpoint.WriteAsync(buffers[0], remote, cancellationToken: Token);
            ValueTask queued = side.Endpoint.SendAsync(buffers[1], side.Peer, cancellationToken: Token);
            using CancellationTokenSource cancel = new(TimeSpan.FromMilliseconds(300));
            ValueTask<RmaReceiveResult> cancelled = side.Endpoint.ReceiveAsync(buffers[2], Timeout.InfiniteTimeSpan, cancel.Token);
            await Assert.ThrowsAsync<RmaTimeoutException>(posted.AsTask);
            await Assert.ThrowsAsync<RmaTimeoutException>(queued.AsTask);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(cancelled.AsTask);
            await side.Endpoint.DisposeAsync();
            Assert.True(clock.Elapsed < timeout + TimeSpan.FromSeconds(20), $"it took {clock.Elapsed}");
            foreach (RmaBuffer buffer in buffers)
                buffer.Dispose();
            // The buffer of the posted operation may still be accessed, unless the endpoint could be closed.
            Assert.Equal(held is null ? 0 : 1, side.Pool.GetStatistics().QuarantinedBuffers);
        }
        // The call returns, and the endpoint is closed after all.
        while (side.Pool.GetStatistics().QuarantinedBuffers != 0)
        {
            Assert.True(clock.Elapsed < TimeSpan.FromSeconds(60), "the buffer stays in quarantine though the transport goes on");
            await Task.Delay(10, Token);
        }
    }
}
