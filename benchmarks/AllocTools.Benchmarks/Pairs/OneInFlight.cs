using System.Buffers;
using AllocTools.Buffers;
using Microsoft.IO;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Rents and returns immediately, on one thread.</summary>
internal static class OneInFlight
{
    public static IWorkload Own(int size) => Of(new OwnPool(), size);

    /// <summary>Creates a workload in a pool whose only class is of that size.</summary>
    public static IWorkload OwnClass(int size) => Of(new OwnPool(classSize: size), size);

    private static Workload Of(OwnPool own, int size)
    {
        RmaMemoryPool<HostMemory.HostProvider> pool = own.Pool;
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    pool.Rent(size).Dispose();
            },
            own.Dispose);
    }

    public static IWorkload Shared(int size) => Of(ArrayPool<byte>.Shared, size);

    public static IWorkload Configured(int size) => Of(ArrayPool<byte>.Create(), size);

    /// <summary>Creates a workload that uses the pool as a MemoryPool.</summary>
    public static IWorkload AsMemoryPool(int size)
    {
        OwnPool own = new();
        RmaMemoryPoolAdapter memory = own.Pool.AsMemoryPool();
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    memory.Rent(size).Dispose();
            },
            own.Dispose);
    }

    public static IWorkload MemoryPoolShared(int size) => new Workload(operations =>
    {
        for (int i = 0; i < operations; i++)
            MemoryPool<byte>.Shared.Rent(size).Dispose();
    });

    public static IWorkload RecyclableStreams(int size)
    {
        RecyclableMemoryStreamManager manager = new();
        return new Workload(operations =>
        {
            for (int i = 0; i < operations; i++)
                manager.GetStream("", size).Dispose();
        });
    }

    private static Workload Of(ArrayPool<byte> pool, int size) => new(operations =>
    {
        for (int i = 0; i < operations; i++)
            pool.Return(pool.Rent(size));
    });
}
