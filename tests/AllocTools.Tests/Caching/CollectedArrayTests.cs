using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Caching;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Caching;

/// <summary>Tests arrays that the garbage collector collects while they are registered.</summary>
public sealed class CollectedArrayTests
{
    private const int Length = 4096;

    [Fact]
    public async Task ARegistrationGoesWithItsArrayAndNotOnTheFinalizersThread()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        ConcurrentQueue<string?> threads = [];
        context.BeforeDeregister = () => threads.Enqueue(Thread.CurrentThread.Name);
        Memory<byte> kept = Pinned();
        cache.Register(kept).Dispose();
        RegisterAndForget(cache, 10);
        Assert.Equal(11, cache.GetStatistics().Entries);
        CollectUntil(() => test.Statistics.RegisteredBytes == Length);
        Assert.Equal(1, cache.GetStatistics().Entries);
        Assert.Equal(10, cache.GetStatistics().Collections);
        Assert.Equal(1, context.Live);
        Assert.All(threads, t => Assert.Equal("test sweeps", t));
        cache.Register(kept).Dispose();
        Assert.Equal(11, context.Registrations);
        GC.KeepAlive(kept);
    }

    [Fact]
    public async Task TheArraysMemoryIsNobodyElsesBeforeItIsDeregistered()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        using var reached = new ManualResetEventSlim();
        using var mayGo = new ManualResetEventSlim();
        context.BeforeDeregister = () =>
        {
            reached.Set();
            mayGo.Wait();
        };
        // The sweeping thread waits for the event, so it must be set even if the test fails.
        using var release = new Released(mayGo);
        (nint address, WeakReference array) = RegisterOne(cache);
        CollectUntil(() => reached.IsSet);
        // The provider has not deregistered the array yet. Whatever is allocated meanwhile has another address.
        List<byte[]> others = [];
        for (int i = 0; i < 50; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            others.AddRange(Enumerable.Range(0, 20).Select(_ => GC.AllocateArray<byte>(Length, pinned: true)));
        }
        Assert.True(array.IsAlive);
        Assert.DoesNotContain(others, o => AddressOf(o) < address + Length && AddressOf(o) + Length > address);
        mayGo.Set();
        CollectUntil(() => !array.IsAlive);
        Assert.Equal(0, context.Live);
        GC.KeepAlive(others);
    }

    [Fact]
    public async Task ALeasedArrayIsKept()
    {
        await using var test = new TestPool();
        using var cache = new RmaRegistrationCache(test.Pool);
        (RmaBuffer buffer, WeakReference array) = Lease(cache);
        Collect();
        Assert.True(array.IsAlive);
        Assert.Equal(9, LastByteOf(buffer));
        buffer.Dispose();
        CollectUntil(() => !array.IsAlive);
        Assert.Equal((0, 1), (cache.GetStatistics().Entries, cache.GetStatistics().Collections));
    }

    [Fact]
    public async Task AnArrayThatLivesAgainIsServed()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        Reviver reviver = new();
        RegisterAndRevive(cache, reviver);
        CollectUntil(() => reviver.Array is not null);
        Memory<byte> memory = MemoryMarshal.CreateFromPinnedArray(reviver.Array!, 0, Length);
        for (int i = 0; i < 20; i++)
        {
            using RmaBuffer buffer = cache.Register(memory);
            buffer.Span.Fill((byte)i);
            Collect();
            Assert.Equal(i, reviver.Array![Length - 1]);
        }
        Assert.True(cache.Invalidate(memory));
        Assert.True(SpinWait.SpinUntil(() => context.Live == 0, TestTime.Seconds(30)));
    }

    [Fact]
    public async Task NewArraysAreNeverTakenForOldOnes()
    {
        await using var test = new TestPool();
        using var cache = new RmaRegistrationCache(test.Pool);
        HashSet<nint> addresses = [];
        bool isAgain = false;
        // Addresses are reused once their arrays are gone.
        DateTime limit = DateTime.UtcNow + TestTime.Seconds(30);
        for (int i = 0; !isAgain && DateTime.UtcNow < limit; i++)
        {
            isAgain = !addresses.Add(RegisterOne(cache).Address);
            if (i % 10 == 9)
                Collect();
        }
        Assert.True(isAgain);
        // Each array was registered separately.
        Assert.Equal(0, cache.GetStatistics().Hits);
        Assert.Equal(0, cache.GetStatistics().Replacements);
        CollectUntil(() => test.Statistics.RegisteredBytes == 0);
        Assert.Equal(0, cache.GetStatistics().Entries);
    }

    [Fact]
    public async Task AnEvictedArrayIsNotWatchedAnyMore()
    {
        await using var test = new TestPool();
        using var cache = new RmaRegistrationCache(test.Pool, new RmaRegistrationCacheOptions { MaxEntries = 1 });
        RegisterAndForget(cache, 10);
        Assert.Equal(9, cache.GetStatistics().Evictions);
        CollectUntil(() => cache.GetStatistics().Entries == 0);
        Assert.Equal(1, cache.GetStatistics().Collections);
    }

    private static Memory<byte> Pinned() => MemoryMarshal.CreateFromPinnedArray(GC.AllocateArray<byte>(Length, pinned: true), 0, Length);

    private static nint AddressOf(byte[] pinned) => Marshal.UnsafeAddrOfPinnedArrayElement(pinned, 0);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void RegisterAndForget(RmaRegistrationCache cache, int count)
    {
        for (int i = 0; i < count; i++)
            cache.Register(Pinned()).Dispose();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (nint Address, WeakReference Array) RegisterOne(RmaRegistrationCache cache)
    {
        byte[] array = GC.AllocateArray<byte>(Length, pinned: true);
        cache.Register(MemoryMarshal.CreateFromPinnedArray(array, 0, Length)).Dispose();
        return (AddressOf(array), new WeakReference(array, trackResurrection: true));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static (RmaBuffer Buffer, WeakReference Array) Lease(RmaRegistrationCache cache)
    {
        byte[] array = GC.AllocateArray<byte>(Length, pinned: true);
        RmaBuffer buffer = cache.Register(MemoryMarshal.CreateFromPinnedArray(array, 0, Length));
        buffer.Span.Fill(9);
        return (buffer, new WeakReference(array, trackResurrection: true));
    }

    /// <summary>Reads the last byte in a frame of its own: a span keeps the array alive that it points into.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static byte LastByteOf(RmaBuffer buffer) => buffer.Span[Length - 1];

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void RegisterAndRevive(RmaRegistrationCache cache, Reviver reviver)
    {
        byte[] array = GC.AllocateArray<byte>(Length, pinned: true);
        cache.Register(MemoryMarshal.CreateFromPinnedArray(array, 0, Length)).Dispose();
        reviver.Watch(array);
    }

    private static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    private static void CollectUntil(Func<bool> isReached)
    {
        DateTime limit = DateTime.UtcNow + TestTime.Seconds(30);
        while (!isReached())
        {
            Assert.True(DateTime.UtcNow < limit, "The collector has not taken it in time.");
            Collect();
            Thread.Yield();
        }
    }

    /// <summary>
    /// The watch has reported the end of an array, but the array is resurrected and leased before the report is read: it must be
    /// watched again.
    /// </summary>
    [Fact]
    public async Task AnArrayThatIsLeasedAgainAfterItsEndWasToldOfIsWatchedOn()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        using var reached = new ManualResetEventSlim();
        using var mayGo = new ManualResetEventSlim();
        context.BeforeDeregister = () =>
        {
            reached.Set();
            mayGo.Wait();
        };
        using var release = new Released(mayGo);
        // Meanwhile the sweeping thread is busy with another array.
        RegisterAndForget(cache, 1);
        CollectUntil(() => reached.IsSet);
        Reviver reviver = new();
        RegisterAndRevive(cache, reviver);
        CollectUntil(() => reviver.Array is not null);
        LeaseUntil(cache, reviver, () =>
        {
            // The revived array's end was reported before the end of this one.
            RegisterAndForget(cache, 1);
            mayGo.Set();
            CollectUntil(() => context.Live == 1);
        });
        Assert.Equal(2, cache.GetStatistics().Collections);
        reviver.Forget();
        CollectUntil(() => context.Live == 0);
        Assert.Equal(3, cache.GetStatistics().Collections);
    }

    /// <summary>Registers an array that only a handle pins with the API meant for arrays that never move.</summary>
    [Fact]
    public async Task AnArrayThatOnlyAHandleHadPinnedStaysWhereItIsWhileItIsLeased()
    {
        await using var test = new TestPool();
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] below = new byte[Length];
        byte[] array;
        GCHandle handle;
        RmaBuffer buffer;
        for (; ; )
        {
            array = new byte[Length];
            handle = GCHandle.Alloc(array, GCHandleType.Pinned);
            buffer = cache.Register(MemoryMarshal.CreateFromPinnedArray(array, 0, Length));
            // If another test has made the collector run twice meanwhile, the array is not young.
            if (GC.GetGeneration(array) < GC.MaxGeneration)
                break;
            buffer.Dispose();
            handle.Free();
        }
        nint address = handle.AddrOfPinnedObject();
        handle.Free();
        // The array below it is collected, and the heap is compacted.
        GC.KeepAlive(below);
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        Assert.Equal((address, address), (buffer.Address, AddressOf(array)));
        buffer.Dispose();
        // A young array may move, so it is pinned while it is registered.
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        Assert.Equal(address, AddressOf(array));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void LeaseUntil(RmaRegistrationCache cache, Reviver reviver, Action work)
    {
        using RmaBuffer buffer = cache.Register(MemoryMarshal.CreateFromPinnedArray(reviver.Array!, 0, Length));
        work();
    }

    /// <summary>Releases the waiting thread, however a test ends.</summary>
    private sealed class Released(ManualResetEventSlim mayGo) : IDisposable
    {
        public void Dispose() => mayGo.Set();
    }

    /// <summary>An object whose finalizer resurrects an array.</summary>
    private sealed class Reviver
    {
        public byte[]? Array { get; private set; }

        public void Forget() => Array = null;

        [MethodImpl(MethodImplOptions.NoInlining)]
        public void Watch(byte[] array) => GC.KeepAlive(new Holder(this, array));

        private sealed class Holder(Reviver reviver, byte[] array)
        {
            ~Holder() => reviver.Array = array;
        }
    }
}
