using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Verbs;

/// <summary>Tests threads that rent, expose and return at random, under a cap, with registrations that pin memory.</summary>
[Collection(Verbs.OneAtATime)]
public sealed class ManyThreadsTests
{
    private const int Threads = 4;
    private const int Rounds = 5;
    private const int Steps = 200;
    private const long Cap = 48 << 20;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WhenAllThreadsRestTheStatisticsMatchThePinnedMemory()
    {
        using IRmaContext context = Fabric.Open(Verbs.Fabric);
        await using var pool = new RmaMemoryPool<LibfabricProvider>(
            context,
            new RmaMemoryPoolOptions
            {
                Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite,
                Isolation = RmaIsolation.PerExposure,
                MaxRegisteredBytes = Cap,
                DrainTimeout = TimeSpan.Zero,
            });
        long before = Verbs.PinnedBytes;
        for (int round = 0; round < Rounds; round++)
        {
            int seed = round * Threads;
            await Task.WhenAll(Enumerable.Range(0, Threads).Select(i => Task.Factory.StartNew(
                () => Use(pool, new Random(seed + i)), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
            RmaPoolStatistics now = pool.GetStatistics();
            Assert.Equal(0, now.RentedBuffers);
            Assert.Equal(now.RegisteredBytes, Verbs.PinnedBytes - before);
            Assert.InRange(now.RegisteredBytes, 1, Cap);
        }
        await pool.DisposeAsync();
        Assert.Equal(before, Verbs.PinnedBytes);
    }

    private static void Use(RmaMemoryPool<LibfabricProvider> pool, Random random)
    {
        List<(RmaBuffer Buffer, RmaExposure? Exposure)> held = [];
        for (int step = 0; step < Steps; step++)
        {
            long length = 1L << random.Next(1, 23);
            try
            {
                if (held.Count < 8 && pool.TryRent(length, out RmaBuffer buffer))
                {
                    buffer.Span[0] = buffer.Span[^1] = (byte)step;
                    held.Add((buffer, null));
                    if (random.Next(4) == 0)
                        held[^1] = (buffer, buffer.Expose(RmaAccess.RemoteWrite));
                    continue;
                }
            }
            catch (RmaPoolExhaustedException)
            {
                // The cap leaves no room for the exposure's own registration.
            }
            if (held.Count > 0)
                Return(held, random.Next(held.Count));
        }
        while (held.Count > 0)
            Return(held, held.Count - 1);
    }

    private static void Return(List<(RmaBuffer Buffer, RmaExposure? Exposure)> held, int index)
    {
        held[index].Exposure?.Dispose();
        held[index].Buffer.Dispose();
        held.RemoveAt(index);
    }
}
