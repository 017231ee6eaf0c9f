using System.Runtime.InteropServices;
using AllocTools.Caching;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>An array of the caller, which is registered by a cache that already contains it, or by the pool, each time anew.</summary>
internal static class CachedMemory
{
    public static IWorkload Cached(int size) => Cached(HostMemory(), size);

    public static IWorkload Cold(int size) => Cold(HostMemory(), size);

    public static IWorkload CachedOnTcp(int size) => Cached(LibfabricTcp(), size);

    public static IWorkload ColdOnTcp(int size) => Cold(LibfabricTcp(), size);

    /// <summary>Creates a workload that uses the cache repeatedly for the same bytes.</summary>
    public static Workload Cached(IRmaProvider provider, int size)
    {
        (IRmaContext context, RmaMemoryPool<HostProvider> pool, Memory<byte> memory) = Open(provider, size);
        RmaRegistrationCache cache = new(pool);
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    cache.Register(memory).Dispose();
            },
            () =>
            {
                cache.Dispose();
                pool.Dispose();
                context.Dispose();
            });
    }

    /// <summary>Creates a workload that uses the pool, which registers and deregisters each time.</summary>
    public static Workload Cold(IRmaProvider provider, int size)
    {
        (IRmaContext context, RmaMemoryPool<HostProvider> pool, Memory<byte> memory) = Open(provider, size);
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    pool.Register(memory).Dispose();
            },
            () =>
            {
                pool.Dispose();
                context.Dispose();
            });
    }

    private static HostProvider HostMemory() => new(new HostProviderOptions { Locking = PageLocking.Required });

    private static LibfabricProvider LibfabricTcp() => new(new LibfabricOptions { Provider = "tcp;ofi_rxm", Node = "127.0.0.1" });

    private static (IRmaContext Context, RmaMemoryPool<HostProvider> Pool, Memory<byte> Memory) Open(IRmaProvider provider, int size)
    {
        IRmaContext context = provider.Open();
        RmaMemoryPool<HostProvider> pool = new(context, new RmaMemoryPoolOptions { IdleRetention = Timeout.InfiniteTimeSpan });
        Memory<byte> memory = MemoryMarshal.CreateFromPinnedArray(GC.AllocateArray<byte>(size, pinned: true), 0, size);
        memory.Span.Fill(1);
        return (context, pool, memory);
    }
}
