using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>Tests that an operation allocates nothing in steady state, whoever makes progress.</summary>
[Collection(nameof(AllocationTests))]
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)] // the allocations of the whole process are counted
public sealed class AllocationTests
{
    private const int InBatch = 32;

    public static MatrixTheoryData<string, RmaProgress> Ways => new(UcxFabric.All, [RmaProgress.Caller, RmaProgress.Endpoint]);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task OperationsAndBatchesAllocateNothing(string fabric, RmaProgress progress)
    {
        using IRmaContext context = UcxFabric.Open(fabric, o => o.Endpoint.Progress = progress, timeProvider: new TimeWithoutTimers());
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite | RmaAccess.RemoteRead, DrainTimeout = TimeSpan.Zero });
        await using IRmaEndpoint left = context.OpenEndpoint();
        await using IRmaEndpoint right = context.OpenEndpoint();
        using RmaBuffer source = pool.Rent(4096);
        using RmaBuffer target = pool.Rent(4096);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        RmaPeer peer = left.InsertPeer(right.Address.Span);
        right.InsertPeer(left.Address.Span);
        using RemoteRegion remote = left.Import(peer, exposure.Remote);
        RmaBatch batch = left.CreateBatch(InBatch);
        for (int i = 0; i < InBatch; i++)
            batch.Write(source.Slice(i * 64, 64), remote.Slice(i * 64, 64));
        var notifications = new RmaNotification[4];
        RmaOperation[] posted = [RmaOperation.Write(source, remote), RmaOperation.Read(source, remote), RmaOperation.WriteAndNotify(source, remote, 7), RmaOperation.Send(source, peer)];
        var completions = new RmaCompletion[8];
        for (int i = 0; i < 200; i++)
            RunAll();
        // The runtime itself also allocates now and then, but an operation that allocates does so each time.
        long least = long.MaxValue;
        for (int round = 0; round < 50 && least > 0; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 10; i++)
                RunAll();
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        Assert.Equal(0, least);

        void RunAll()
        {
            Wait(left.WriteAsync(source, remote, cancellationToken: Token));
            Wait(left.ReadAsync(source, remote, cancellationToken: Token));
            ValueTask<RmaReceiveResult> receiving = right.ReceiveAsync(target, cancellationToken: Token);
            Wait(left.SendAsync(source, peer, cancellationToken: Token));
            while (!receiving.IsCompleted)
                Poll();
            receiving.GetAwaiter().GetResult();
            Wait(left.WriteAsync(source, remote, notification: 5, cancellationToken: Token));
            while (right.PollNotifications(notifications) == 0)
                Poll();
            Wait(batch.RunAsync(cancellationToken: Token));
            receiving = right.ReceiveAsync(target, cancellationToken: Token);
            foreach (RmaOperation operation in posted)
            {
                while (!left.TryPost(operation))
                    Poll();
            }
            for (int ended = 0; ended < posted.Length; ended += left.Poll(completions))
                right.Poll([]);
            while (!receiving.IsCompleted)
                Poll();
            receiving.GetAwaiter().GetResult();
            while (right.PollNotifications(notifications) == 0)
                Poll();
        }

        void Wait(ValueTask operation)
        {
            while (!operation.IsCompleted)
                Poll();
            operation.GetAwaiter().GetResult();
        }

        void Poll()
        {
            left.Poll([]);
            right.Poll([]);
        }
    }

    /// <summary>
    /// A clock that advances, but runs no timers. The timer that watches the endpoints' threads allocates in the
    /// runtime each time it is due, and on a busy machine that is in each round.
    /// </summary>
    private sealed class TimeWithoutTimers : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            base.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }
}
