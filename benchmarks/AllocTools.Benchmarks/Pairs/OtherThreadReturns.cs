using System.Buffers;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Rented on one thread, returned on another, by a ring. Its cost is taken off both sides where the row says so.</summary>
internal static class OtherThreadReturns
{
    private const int Capacity = 64;

    public static IWorkload Own(int size)
    {
        OwnPool own = new();
        RmaMemoryPool<HostMemory.HostProvider> pool = own.Pool;
        return Start(() => pool.Rent(size), buffer => buffer.Dispose(), own.Dispose);
    }

    public static IWorkload Shared(int size) => Start(() => ArrayPool<byte>.Shared.Rent(size), array => ArrayPool<byte>.Shared.Return(array), null);

    public static IWorkload Configured(int size)
    {
        ArrayPool<byte> pool = ArrayPool<byte>.Create();
        return Start(() => pool.Rent(size), array => pool.Return(array), null);
    }

    /// <summary>The ring alone.</summary>
    public static IWorkload RingAlone() => Start<long>(() => 1, _ => { }, null);

    private static Workload Start<T>(Func<T> rent, Action<T> giveBack, Action? dispose)
    {
        Ring<T> ring = new(Capacity);
        long wanted = 0;
        long done = 0;
        bool ends = false;
        using ManualResetEventSlim started = new();
        Thread consumer = new(() =>
        {
            started.Set();
            while (true)
            {
                while (Volatile.Read(ref wanted) == done)
                {
                    if (Volatile.Read(ref ends))
                        return;
                    Thread.SpinWait(1);
                }
                giveBack(ring.Read());
                Volatile.Write(ref done, done + 1);
            }
        })
        { IsBackground = true };
        consumer.Start();
        started.Wait();
        return new Workload(
            operations =>
            {
                Volatile.Write(ref wanted, wanted + operations);
                for (int i = 0; i < operations; i++)
                    ring.Write(rent());
                while (Volatile.Read(ref done) != wanted)
                    Thread.SpinWait(1);
            },
            () =>
            {
                Volatile.Write(ref ends, true);
                consumer.Join();
                dispose?.Invoke();
            });
    }
}
