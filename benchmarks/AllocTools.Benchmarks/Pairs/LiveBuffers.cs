namespace AllocTools.Benchmarks.Pairs;

/// <summary>Rents and returns immediately while many other buffers are rented: the cost must not grow with their number.</summary>
internal static class LiveBuffers
{
    private const int Size = 1 << 10;

    public static IWorkload Out(int count)
    {
        OwnPool own = new();
        RmaMemoryPool<HostMemory.HostProvider> pool = own.Pool;
        RmaBuffer[] live = new RmaBuffer[count];
        for (int i = 0; i < live.Length; i++)
            live[i] = pool.Rent(Size);
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    pool.Rent(Size).Dispose();
            },
            () =>
            {
                foreach (RmaBuffer buffer in live)
                    buffer.Dispose();
                own.Dispose();
            });
    }
}
