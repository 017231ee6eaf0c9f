using AllocTools.Diagnostics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting;

/// <summary>A pool's place in the metrics, from its creation until it is closed.</summary>
/// <remarks>
/// The pool's factory requests it before the pool exists, so the container disposes it after the
/// pool.
/// </remarks>
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

/// <summary>The pools of all hosts in this process, held weakly, so that a warning can be logged if two have the same name.</summary>
/// <remarks>It must be static, because OpenTelemetry distinguishes meters only by name, whatever their host. Only that warning depends on it.</remarks>
internal static class PoolsInProcess
{
    private static readonly Lock Gate = new();
    private static readonly List<WeakReference<IRmaMemoryPool>> Pools = [];

    /// <summary>Adds a pool.</summary>
    /// <returns>False if another pool has the same name.</returns>
    public static bool Add(IRmaMemoryPool pool)
    {
        lock (Gate)
        {
            bool isOnly = true;
            Pools.RemoveAll(r => !r.TryGetTarget(out _));
            foreach (WeakReference<IRmaMemoryPool> reference in Pools)
                isOnly &= !reference.TryGetTarget(out IRmaMemoryPool? other) || other.Name != pool.Name;
            Pools.Add(new WeakReference<IRmaMemoryPool>(pool));
            return isOnly;
        }
    }

    /// <summary>Removes a pool that is closed.</summary>
    public static void Remove(IRmaMemoryPool pool)
    {
        lock (Gate)
            Pools.RemoveAll(r => !r.TryGetTarget(out IRmaMemoryPool? other) || ReferenceEquals(other, pool));
    }
}
