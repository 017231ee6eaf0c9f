using System.Buffers;
using System.Collections.Concurrent;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>
/// Rents on one thread and returns on another, through a ring. The ring's cost is subtracted from both sides if the
/// row says so.
/// </summary>
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

    /// <summary>A commonly written pool: a queue, which hands the returned arrays over to the thread that rents.</summary>
    public static IWorkload Queued(int size)
    {
        ConcurrentQueue<byte[]> queue = new();
        return Start(() => queue.TryDequeue(out byte[]? array) ? array : new byte[size], queue.Enqueue, null);
    }

    /// <summary>Measures only the ring.</summary>
    public static IWorkload RingAlone() => Start<long>(() => 1, _ => { }, null);

    private static Workload Start<T>(Func<T> rent, Action<T> giveBack, Action? dispose)
    {
        Ring<T> ring = new(Capacity);
        // Between two runs the other thread sleeps, so that it does not compete with the other side's turn.
        AutoResetEvent go = new(initialState: false);
        int wanted = 0;
        bool isDone = true;
        bool ends = false;
        Thread consumer = new(() =>
        {
            while (true)
            {
                go.WaitOne();
                if (Volatile.Read(ref ends))
                    return;
                for (int i = Volatile.Read(ref wanted); i > 0; i--)
                    giveBack(ring.Read());
                Volatile.Write(ref isDone, true);
            }
        })
        { IsBackground = true };
        consumer.Start();
        return new Workload(
            operations =>
            {
                Volatile.Write(ref wanted, operations);
                Volatile.Write(ref isDone, false);
                go.Set();
                for (int i = 0; i < operations; i++)
                    ring.Write(rent());
                while (!Volatile.Read(ref isDone))
                    Thread.SpinWait(1);
            },
            () =>
            {
                Volatile.Write(ref ends, true);
                go.Set();
                consumer.Join();
                go.Dispose();
                dispose?.Invoke();
            });
    }
}
