using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Blocks;
using AllocTools.Caching;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Stress.Tests;

/// <summary>
/// Tests one small registration cache for all threads, in a pool that is often at its cap: hits, evictions, arrays that
/// are collected, native memory that is freed, and RMA between them, whose bytes are checked.
/// </summary>
public sealed class CacheStressTests
{
    private const int Length = 64 << 10;
    private const int Threads = 4;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task EachByteIsWhereItBelongsWhateverComesAndGoes()
    {
        IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        var options = new RmaMemoryPoolOptions
        {
            Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
            MaxRegisteredBytes = 3 << 20,
            IdleRetention = TimeSpan.FromMilliseconds(20),
            TrimInterval = TimeSpan.FromMilliseconds(10),
            DrainTimeout = TimeSpan.FromSeconds(60),
            RentTimeout = TimeSpan.FromSeconds(60),
            SizeClasses = { new SizeClassOptions { BlockSize = 256 << 10 } },
        };
        var pool = new RmaMemoryPool<HostProvider>(context, options);
        var cache = new RmaRegistrationCache(pool, new RmaRegistrationCacheOptions { MaxBytes = 1 << 20, MaxEntries = 24 });
        byte[] shared = new byte[Length];
        Random.Shared.NextBytes(shared);
        await using (IRmaEndpoint endpoint = context.OpenEndpoint())
        {
            RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
            var time = new StressTime();
            await Task.WhenAll(Enumerable.Range(0, Threads).Select(i => Task.Run(() => new Worker(pool, cache, endpoint, self, shared, seed: i).RunAsync(time), Token)));
        }
        // With so many other arrays, an array's registration may always have been evicted before the collector finds the array.
        using (var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60)))
        {
            while (cache.GetStatistics().Collections == 0 && !limit.IsCancellationRequested)
            {
                Abandon(cache);
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
        }
        RmaRegistrationCacheStatistics now = cache.GetStatistics();
        Assert.True(now.Hits > 0 && now.Misses > 0 && now.Evictions > 0 && now.Collections > 0 && now.Invalidations > 0 && now.Replacements > 0, now.ToString());
        Assert.Equal(0, now.Leases);
        Assert.Equal(now.Entries, now.IdleEntries);
        Assert.True(now.Entries <= 24 && now.RegisteredBytes <= 1 << 20, now.ToString());
        cache.Dispose();
        await pool.DisposeAsync();
        context.Dispose();
        RmaPoolStatistics end = pool.GetStatistics();
        Assert.Equal((0, 0), (end.RegisteredBytes, end.UnexpectedErrors));
        Assert.Equal(end.Registrations, end.Deregistrations);
        GC.KeepAlive(shared);
    }

    /// <summary>Registers an array that nobody refers to afterwards.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Abandon(RmaRegistrationCache cache) => cache.Register(NewArray()).Dispose();

    private static Memory<byte> NewArray() => MemoryMarshal.CreateFromPinnedArray(GC.AllocateArray<byte>(Length, pinned: true), 0, Length);

    private sealed class Worker(IRmaMemoryPool pool, RmaRegistrationCache cache, IRmaEndpoint endpoint, RmaPeer self, byte[] shared, int seed)
    {
        private static readonly PageAllocator Pages = new();

        private readonly Random _random = new(seed);
        private readonly Memory<byte>[] _own = [NewArray(), NewArray(), new byte[Length]];

        public async Task RunAsync(StressTime time)
        {
            for (int step = 0; !time.IsOver; step++)
            {
                Memory<byte> target = _own[_random.Next(_own.Length)];
                await CopyAsync(target);
                switch (_random.Next(20))
                {
                    case 0:
                        // The old array is left to the collector.
                        _own[_random.Next(2)] = NewArray();
                        break;
                    case 1:
                        await UseNativeAsync();
                        break;
                    case 2:
                        Assert.True(cache.Invalidate(_own[_random.Next(_own.Length)]), "nobody else has this thread's memory");
                        break;
                    case 3:
                        // At the cap, idle registrations make room.
                        (await pool.RentAsync(256 << 10)).Dispose();
                        break;
                    case 4 when step % 8 == 0:
                        _own[_random.Next(2)] = NewArray();
                        GC.Collect();
                        break;
                }
            }
        }

        /// <summary>
        /// Copies bytes of the shared array into a part of the target by RMA, and checks that no others change.
        /// </summary>
        private async Task CopyAsync(Memory<byte> target)
        {
            (int from, int length) = Range();
            int to = _random.Next(Length - length + 1);
            target.Span.Fill(0xA5);
            using (RmaBuffer source = cache.RegisterReadOnly(shared.AsMemory(from, length)))
            using (RmaBuffer into = cache.Register(target.Slice(to, length)))
                await WriteAsync(source, into);
            Assert.True(target.Span.Slice(to, length).SequenceEqual(shared.AsSpan(from, length)), "other bytes are there than were written");
            Assert.False(target.Span[..to].ContainsAnyExcept((byte)0xA5), "bytes before the range have changed");
            Assert.False(target.Span[(to + length)..].ContainsAnyExcept((byte)0xA5), "bytes behind the range have changed");
        }

        private async Task UseNativeAsync()
        {
            // The memory is unmapped at the end: if it were still registered, the process would end.
            nint memory = Pages.Allocate(Length, populate: true);
            for (int i = 0; i < 3; i++)
            {
                (int from, int length) = Range();
                using RmaBuffer source = cache.RegisterReadOnly(shared.AsMemory(from, length));
                using RmaBuffer into = cache.Register(memory + from, length);
                await WriteAsync(source, into);
                Assert.True(into.Span.SequenceEqual(shared.AsSpan(from, length)), "other bytes are there than were written");
            }
            Assert.True(cache.Invalidate(memory, Length), "nobody else has this thread's memory");
            Pages.Free(memory, Length);
        }

        private async Task WriteAsync(RmaBuffer source, RmaBuffer target)
        {
            using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
            using RemoteRegion remote = endpoint.Import(self, exposure.Remote);
            await endpoint.WriteAsync(source, remote);
        }

        /// <summary>Returns one of a few ranges, which others cover or overlap.</summary>
        private (int From, int Length) Range() => (_random.Next(8) * 4096, (1 + _random.Next(8)) * 4096);
    }
}
