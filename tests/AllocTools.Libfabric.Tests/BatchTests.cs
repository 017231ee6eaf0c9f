using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests the cost of a batch; the suite covers its behaviour.</summary>
public sealed class BatchTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ARunAllocatesNothingInSteadyState(string fabric)
    {
        await using var pair = new EndpointPair(fabric, o =>
        {
            o.Endpoint.Progress = RmaProgress.Caller;
            o.Endpoint.MaxOutstanding = 8;
        });
        using RmaBuffer target = pair.Right.Pool.Rent(32 * 64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        using var cancel = new CancellationTokenSource();
        RmaBatch batch = pair.Left.Endpoint.CreateBatch();
        for (int i = 0; i < 32; i++)
            batch.Write(source, remote.Slice(i * 64, 64));
        for (int i = 0; i < 100; i++)
            Run();
        var allocations = new ThreadAllocations();
        for (int i = 0; i < 100; i++)
        {
            allocations.Begin();
            Run();
            allocations.End();
        }
        allocations.AssertNone();

        void Run()
        {
            Span<RmaCompletion> completions = stackalloc RmaCompletion[8];
            ValueTask run = batch.RunAsync(cancellationToken: cancel.Token);
            while (!run.IsCompleted)
            {
                pair.Left.Endpoint.Poll(completions);
                pair.Right.Endpoint.Poll(completions);
            }
            run.GetAwaiter().GetResult();
        }
    }
}
