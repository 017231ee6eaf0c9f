using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace AllocTools.Soak;

/// <summary>
/// What threads do with the pool itself: rent, return on other threads, so that it grows and is trimmed, change its
/// options while it is in use, and register their own memory.
/// </summary>
internal sealed class PoolLoad(Station station, Ledger ledger)
{
    private const int Renters = 2, MostHeld = 24, StepsBetweenRests = 64;

    private static readonly int[] Sizes = [8, 1000, 4 << 10, 9000, 60_000, 64 << 10, 200_000, 256 << 10, 300_000, 1 << 20];

    private static readonly long[] Caps = [32 << 20, 48 << 20, 96 << 20, 128 << 20];

    private readonly ConcurrentQueue<(RmaBuffer Buffer, uint Seed)> _handedOver = new();
    private int _seed;

    /// <summary>Runs until it is stopped, and leaves nothing rented and the options as they were.</summary>
    public async Task RunAsync(int seed, CancellationToken stop)
    {
        List<Task> tasks = [.. Enumerable.Range(0, Renters).Select(i => OnThread(() => Rent(new Random(seed + i), stop)))];
        tasks.Add(OnThread(() => RegisterOwn(new Random(seed + Renters), stop)));
        tasks.Add(ReconfigureAsync(new Random(seed + Renters + 1), stop));
        await Task.WhenAll(tasks);
        while (_handedOver.TryDequeue(out (RmaBuffer Buffer, uint Seed) left))
            Return(left.Buffer, left.Seed);
    }

    private static Task OnThread(Action work) => Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Rent(Random random, CancellationToken stop)
    {
        List<(RmaBuffer Buffer, uint Seed)> own = [];
        for (int step = 0; !stop.IsCancellationRequested; step++)
        {
            switch (random.Next(8))
            {
                case < 4:
                    RentOne(random.GetItems(Sizes, 1)[0], own);
                    break;
                case 4 when _handedOver.Count < MostHeld && own.Count > 0:
                    _handedOver.Enqueue(Take(own, random));
                    break;
                case 5 when _handedOver.TryDequeue(out (RmaBuffer Buffer, uint Seed) others):
                    Return(others.Buffer, others.Seed);
                    break;
                case 6 when random.Next(StepsBetweenRests) == 0:
                    // This grows the pool by several slabs of a class, which are trimmed later.
                    for (int i = 0; i < MostHeld; i++)
                        RentOne(256 << 10, own);
                    break;
                default:
                    if (own.Count > 0)
                    {
                        (RmaBuffer buffer, uint seed) = Take(own, random);
                        Return(buffer, seed);
                    }
                    break;
            }
            while (own.Count > MostHeld)
            {
                (RmaBuffer buffer, uint seed) = Take(own, random);
                Return(buffer, seed);
            }
            // Leave some processor time to the peers.
            if (step % StepsBetweenRests == 0)
                Thread.Sleep(1);
        }
        foreach ((RmaBuffer buffer, uint seed) in own)
            Return(buffer, seed);
    }

    private void RentOne(long length, List<(RmaBuffer, uint)> own)
    {
        if (!station.Pool.TryRent(length, out RmaBuffer buffer))
        {
            ledger.Count("rents refused at the cap");
            return;
        }
        uint seed = (uint)Interlocked.Increment(ref _seed);
        Pattern.Fill(buffer.Span, seed);
        own.Add((buffer, seed));
        ledger.Count("rents");
    }

    private void Return(RmaBuffer buffer, uint seed)
    {
        ledger.AddWrong("in a rented buffer", Pattern.CountWrong(buffer.Span, seed));
        buffer.Dispose();
    }

    private static (RmaBuffer Buffer, uint Seed) Take(List<(RmaBuffer Buffer, uint Seed)> own, Random random)
    {
        int at = random.Next(own.Count);
        (RmaBuffer, uint) taken = own[at];
        own[at] = own[^1];
        own.RemoveAt(own.Count - 1);
        return taken;
    }

    private async Task ReconfigureAsync(Random random, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            RmaMemoryPoolOptions options = Station.Options();
            options.MaxRegisteredBytes = random.GetItems(Caps, 1)[0];
            options.IdleRetention = TimeSpan.FromMilliseconds(random.Next(2) * 100);
            options.TrimInterval = TimeSpan.FromMilliseconds(random.Next(10, 100));
            options.LeakDetection = random.Next(2) == 0 ? RmaLeakDetection.Off : RmaLeakDetection.Sampled;
            station.Pool.Reconfigure(options);
            ledger.Count("changes of the options");
            await Task.Delay(random.Next(20, 200), stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        station.Pool.Reconfigure(Station.Options());
    }

    /// <summary>
    /// Registers arrays, some of which are left to the garbage collector, and native memory, with and without the
    /// cache, and exposes and revokes them.
    /// </summary>
    private void RegisterOwn(Random random, CancellationToken stop)
    {
        byte[][] arrays = [.. Enumerable.Range(0, 8).Select(_ => NewArray(random))];
        while (!stop.IsCancellationRequested)
        {
            int at = random.Next(arrays.Length);
            if (random.Next(16) == 0)
                arrays[at] = NewArray(random);
            byte[] array = arrays[at];
            int offset = random.Next(array.Length / 2);
            Use(() => station.Cache.Register(array.AsMemory(offset)), offset, array);
            if (random.Next(4) == 0)
                UseNative(random);
            Thread.Sleep(random.Next(3));
        }
        // Idle memory stays registered in the cache until it is evicted, so it is removed before a sample.
        foreach (byte[] array in arrays)
            station.Cache.Invalidate(array);
    }

    private unsafe void UseNative(Random random)
    {
        int length = random.Next(1, 1 << 18);
        byte* address = (byte*)NativeMemory.Alloc((nuint)length);
        Pattern.Fill(new Span<byte>(address, length), 0);
        byte[] expected = new Span<byte>(address, length).ToArray();
        bool isCached = random.Next(2) == 0;
        Use(() => isCached ? station.Cache.Register((nint)address, length) : station.Pool.Register((nint)address, length), 0, expected);
        if (isCached)
            station.Cache.Invalidate((nint)address, length);
        NativeMemory.Free(address);
    }

    private void Use(Func<RmaBuffer> register, int offset, byte[] expected)
    {
        try
        {
            using RmaBuffer buffer = register();
            using (buffer.Expose(RmaAccess.RemoteRead))
                ledger.Count("exposures");
            if (!buffer.Span.SequenceEqual(expected.AsSpan(offset, (int)buffer.Length)))
                ledger.AddWrong("in the caller's memory", buffer.Length);
            ledger.Count("registrations of the caller's memory");
        }
        catch (RmaPoolExhaustedException)
        {
            ledger.Count("registrations refused at the cap");
        }
    }

    private static byte[] NewArray(Random random)
    {
        byte[] array = new byte[random.Next(1, 1 << 19)];
        Pattern.Fill(array, 0);
        return array;
    }
}
