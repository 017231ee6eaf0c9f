using System.Buffers;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Performs 64 rents, then 64 returns; one operation is one of each.</summary>
internal static class ManyInFlight
{
    private const int InFlight = 64;

    public static IWorkload Own(int size)
    {
        OwnPool own = new();
        RmaMemoryPool<HostMemory.HostProvider> pool = own.Pool;
        RmaBuffer[] buffers = new RmaBuffer[InFlight];
        return new Workload(
            operations =>
            {
                for (int done = 0; done < operations; done += InFlight)
                {
                    for (int i = 0; i < buffers.Length; i++)
                        buffers[i] = pool.Rent(size);
                    foreach (RmaBuffer buffer in buffers)
                        buffer.Dispose();
                }
            },
            own.Dispose);
    }

    public static IWorkload Shared(int size)
    {
        byte[][] arrays = new byte[InFlight][];
        return new Workload(operations =>
        {
            for (int done = 0; done < operations; done += InFlight)
            {
                for (int i = 0; i < arrays.Length; i++)
                    arrays[i] = ArrayPool<byte>.Shared.Rent(size);
                foreach (byte[] array in arrays)
                    ArrayPool<byte>.Shared.Return(array);
            }
        });
    }
}
