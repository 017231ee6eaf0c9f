using System.Collections.Concurrent;
using CsCheck;
using Xunit;

namespace AllocTools.Tests.Model.Concurrent;

/// <summary>
/// Tests that concurrent threads get the same results as if they had run one after the other. Above all, no request is refused
/// while a block is idle.
/// </summary>
public sealed class LinearizabilityTests
{
    // Only the last few pools are in use: one for each thread of the run.
    private const int PoolsKept = 100;

    [Fact]
    public void RentsAndReturnsAtTheCapAreAsInSomeOrder()
    {
        ConcurrentQueue<FullPool> pools = new();
        try
        {
            Gen.Int[0, 6].Select(free =>
                {
                    FullPool pool = new(free);
                    pools.Enqueue(pool);
                    if (pools.Count > PoolsKept && pools.TryDequeue(out FullPool? old))
                        old.Dispose();
                    return (pool, new FullPoolCounts { Free = free });
                })
                .SampleParallel(
                    Gen.Operation<FullPool, FullPoolCounts>("Rent", pool => pool.Rent(), counts => counts.Rent()),
                    Gen.Operation<FullPool, FullPoolCounts>("Return", pool => pool.Return(), counts => counts.Return()),
                    equal: (pool, counts) => pool.Counts == counts,
                    printActual: pool => pool.Counts.ToString(),
                    printModel: counts => counts.ToString(),
                    iter: 300,
                    time: ModelRuns.Seconds);
        }
        finally
        {
            foreach (FullPool pool in pools)
                pool.Dispose();
        }
    }
}
