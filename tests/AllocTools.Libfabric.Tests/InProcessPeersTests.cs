using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests endpoints of shm in one process, which share libfabric's mappings of their memory. Each of these cases ended the process
/// by SIGSEGV if a closed endpoint's memory was unmapped while the other was in use.
/// </summary>
public sealed class InProcessPeersTests
{
    public static TheoryData<string> Fabrics => [Fabric.SharedMemoryByAddress, Fabric.SharedMemoryByOffset];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>The target of a batch is closed while the batch runs.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task APeerIsClosedUnderARunningBatch(string fabric)
    {
        for (int round = 0; round < 20; round++)
        {
            await using var pair = new EndpointPair(fabric, o => o.Endpoint.OperationTimeout = TestTime.Seconds(20));
            using RmaBuffer target = pair.Right.Pool.Rent(64 << 10);
            using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
            using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
            using RmaBuffer source = pair.Left.Pool.Rent(64 << 10);
            RmaBatch batch = pair.Left.Endpoint.CreateBatch();
            for (int i = 0; i < 1000; i++)
                batch.Write(source.Slice(i * 64, 64), remote.Slice(i * 64, 64));
            await batch.RunAsync(cancellationToken: Token);
            Task running = batch.RunAsync(cancellationToken: Token).AsTask();
            // At any time during the run, and after it.
            Thread.SpinWait(round * 500);
            await pair.Right.Endpoint.DisposeAsync();
            Exception? error = await Record.ExceptionAsync(() => running);
            Assert.True(error is null or RmaBatchException { InnerException: RmaPeerLostException or RmaTimeoutException or RmaOperationException } or RmaPeerLostException, error?.ToString());
        }
    }

    /// <summary>
    /// The initiator is closed before its peer has seen its first message, or the operations that it has posted after they were
    /// connected.
    /// </summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AnInitiatorIsClosedBeforeItsPeerLooks(string fabric)
    {
        foreach (bool isConnected in new[] { false, true })
        {
            await using var pair = new EndpointPair(fabric, o => o.Endpoint.Progress = RmaProgress.Caller);
            (EndpointPair.Side left, EndpointPair.Side right) = (pair.Left, pair.Right);
            RmaBuffer small = left.Pool.Rent(64);
            RmaBuffer[] large = [left.Pool.Rent(100_000), left.Pool.Rent(100_000)];
            using RmaBuffer received = right.Pool.Rent(100_000);
            if (isConnected)
            {
                Task receiving = right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
                Task sending = left.Endpoint.SendAsync(small, left.Peer, cancellationToken: Token).AsTask();
                while (!receiving.IsCompleted || !sending.IsCompleted)
                {
                    left.Endpoint.Poll([]);
                    right.Endpoint.Poll([]);
                }
            }
            Task[] sends = [.. large.Append(small).Select(b => left.Endpoint.SendAsync(b, left.Peer, cancellationToken: Token).AsTask())];
            for (int i = 0; i < 10; i++)
                left.Endpoint.Poll([]);
            await left.Endpoint.DisposeAsync();
            foreach (Task send in sends)
                Assert.IsType<RmaOperationException>(await Record.ExceptionAsync(() => send));
            small.Dispose();
            Array.ForEach(large, static l => l.Dispose());
            // The peer has been asked to read the large messages.
            Assert.InRange(left.Pool.GetStatistics().QuarantinedBuffers, isConnected ? 2 : 0, isConnected ? 3 : 0);
            Task[] receives = [.. Enumerable.Range(0, 3).Select(_ => right.Endpoint.ReceiveAsync(received, TestTime.Seconds(1), Token).AsTask())];
            while (receives.Any(static r => !r.IsCompleted))
                right.Endpoint.Poll([]);
            foreach (Task receive in receives)
                Assert.True(await Record.ExceptionAsync(() => receive) is null or RmaTimeoutException);
            await right.Endpoint.DisposeAsync();
            Assert.Equal(0, left.Pool.GetStatistics().QuarantinedBuffers);
        }
    }
}
