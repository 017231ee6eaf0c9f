using AllocTools.Diagnostics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>A pool's place in the metrics, from its making until it is closed.</summary>
/// <remarks>The pool's factory asks for it before there is a pool, so the container disposes it after the pool.</remarks>
internal sealed class PublishedPool(RmaMetrics metrics, ILogger logger) : IDisposable
{
    private IRmaMemoryPool? _pool;

    public void Publish(IRmaMemoryPool pool)
    {
        _pool = pool;
        metrics.Add(pool);
        if (!PoolsInProcess.Add(pool))
            HostingLog.SameNameInProcess(logger, pool.Name);
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _pool, null) is not { } pool)
            return;
        metrics.Remove(pool);
        PoolsInProcess.Remove(pool);
    }
}
