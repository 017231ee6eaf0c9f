using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.HostMemory;

public sealed class HostBatchTests : IAsyncDisposable
{
    private const int Length = 64;

    private readonly TestPool _left = new(o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
    private readonly TestPool _right = new(o =>
    {
        o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;
        o.Isolation = RmaIsolation.PerExposure;
    });
    private readonly IRmaEndpoint _here;
    private readonly IRmaEndpoint _there;
    private readonly RmaPeer _peer;

    public HostBatchTests()
    {
        _here = _left.Context.OpenEndpoint();
        _there = _right.Context.OpenEndpoint();
        _peer = _here.InsertPeer(_there.Address.Span);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _here.DisposeAsync();
        await _there.DisposeAsync();
        await _left.DisposeAsync();
        await _right.DisposeAsync();
    }

    [Fact]
    public async Task ABatchOfMoreThanMayBeOutstandingMovesThemAllEachTime()
    {
        const int Count = 5000;
        using RmaBuffer target = _right.Pool.Rent(Count * Length);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = _here.Import(_peer, exposure.Remote);
        using RmaBuffer source = _left.Pool.Rent(Count * Length);
        RmaBatch batch = _here.CreateBatch();
        for (int i = 0; i < Count; i++)
            batch.Write(source.Slice((Count - 1 - i) * Length, Length), remote.Slice(i * Length, Length));
        for (int run = 0; run < 3; run++)
        {
            RandomNumberGenerator.Fill(source.Span);
            await batch.RunAsync(cancellationToken: Token);
            for (int i = 0; i < Count; i++)
                Assert.True(target.GetSpan(i * Length, Length).SequenceEqual(source.GetSpan((Count - 1 - i) * Length, Length)), $"operation {i} of run {run}");
        }
        Assert.Equal(3 * Count, _here.GetStatistics().Operations[(int)RmaOperationKind.Write].Succeeded);
    }

    [Fact]
    public async Task WhicheverFailsIsNamed()
    {
        const int Count = 40;
        using RmaBuffer target = _right.Pool.Rent(Length);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = _here.Import(_peer, exposure.Remote);
        RmaExposure ended = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion gone = _here.Import(_peer, ended.Remote);
        ended.Dispose();
        RmaBuffer source = _left.Pool.Rent(Length);
        RmaBatch batch = _here.CreateBatch();
        for (int k = 0; k < Count; k++)
        {
            batch.Clear();
            for (int i = 0; i < Count; i++)
                batch.Write(source, i == k ? gone : remote);
            RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(cancellationToken: Token).AsTask());
            Assert.Equal(k, error.Index);
            Assert.InRange(error.Completed, k, k + 1);
        }
        source.Return();
    }

    [Fact]
    public async Task AClosedPeerFailsTheMessagesThatWaitForIt()
    {
        RmaBuffer message = _left.Pool.Rent(Length);
        RmaBatch batch = _here.CreateBatch();
        for (int i = 0; i < 10; i++)
            batch.Send(message, _peer);
        Task running = batch.RunAsync(cancellationToken: Token).AsTask();
        await _there.DisposeAsync();
        RmaBatchException error = await Assert.ThrowsAsync<RmaBatchException>(() => running);
        Assert.IsType<RmaPeerLostException>(error.InnerException);
        Assert.Equal((0, 0, true), (error.Index, error.Completed, error.IsTransient));
        message.Return();
    }
}
