using System.Collections.Concurrent;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Stress.Tests;

public sealed class PoolStressTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task NoBlockIsRentedTwiceAndTheStatisticsAreRightWheneverThePoolIsAtRest(bool providerIsSlow, bool capChanges)
    {
        await using var test = new StressPool(providerIsSlow ? _ => Thread.Sleep(1) : null);
        await RunRoundsAsync(test, threads: 4, steps: 20_000, capChanges);
    }

    [Fact]
    public async Task EachRegistrationFailsOnceAndNothingIsLost()
    {
        // Repeat until a run ends before its k-th registration.
        for (int k = 1; ; k++)
        {
            int failing = k;
            await using var test = new StressPool(
                number =>
                {
                    if (number == failing)
                        throw new RmaRegistrationException("refused", "fi_mr_reg", 0, "stress", 12, "FI_ENOMEM");
                },
                maxRegisteredBytes: 256 << 20);
            long rents = 0;
            RmaBuffer[] buffers = new RmaBuffer[400];
            for (int i = 0; i < buffers.Length; i++)
            {
                try
                {
                    buffers[i] = test.Pool.Rent(1 + (i * 997L % 400_000));
                    rents++;
                }
                catch (RmaRegistrationException)
                {
                    // The request that met the failure; the pool still serves others.
                }
            }
            foreach (RmaBuffer buffer in buffers)
                buffer.Dispose();
            test.AssertAtRest(rents, rejections: 0);
            Assert.InRange(rents, buffers.Length - 1, buffers.Length);
            if (test.Registrations < k)
            {
                Assert.True(k > 10, "the failures were to reach further than that");
                return;
            }
        }
    }

    [Fact]
    public async Task OfTwoThreadsThatReturnOneLeaseAtTheSameMomentExactlyOneWins()
    {
        await using var test = new StressPool();
        RmaBuffer shared = default;
        long turn = 0;
        long wins = 0;
        long losses = 0;
        bool ends = false;
        var other = new Thread(() =>
        {
            for (long expected = 1; ; expected++)
            {
                while (Volatile.Read(ref turn) != expected)
                {
                    if (Volatile.Read(ref ends))
                        return;
                }
                Count(TryReturn(shared));
                Volatile.Write(ref turn, -expected);
            }
        });
        other.Start();
        StressTime time = new();
        long rounds = 0;
        while (!time.IsOver)
        {
            shared = test.Pool.Rent(1024);
            rounds++;
            Volatile.Write(ref turn, rounds);
            Count(TryReturn(shared));
            while (Volatile.Read(ref turn) != -rounds)
                Thread.SpinWait(1);
        }
        Volatile.Write(ref ends, true);
        other.Join();
        Assert.Equal(rounds, wins);
        Assert.Equal(rounds, losses);
        test.AssertAtRest(rounds, rejections: 0);

        void Count(bool won)
        {
            if (won)
                Interlocked.Increment(ref wins);
            else
                Interlocked.Increment(ref losses);
        }
    }

    [Fact]
    public async Task WaitersAreServedWhileOthersRentReturnAndDie()
    {
        await using var test = new StressPool(maxRegisteredBytes: 1 << 20);
        StressTime time = new();
        long rents = 0;
        while (!time.IsOver)
        {
            Task[] users = [.. Enumerable.Range(0, 6).Select(i => Task.Factory.StartNew(
                () =>
                {
                    for (int n = 0; n < 50; n++)
                    {
                        using RmaBuffer buffer = test.Pool.RentAsync(i % 2 == 0 ? 200_000 : 500_000, Token).AsTask().GetAwaiter().GetResult();
                        buffer.Span[^1] = 1;
                    }
                },
                Token,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default))];
            await Task.WhenAll(users).WaitAsync(TimeSpan.FromSeconds(60), Token);
            rents += 6 * 50;
            test.AssertAtRest(rents, rejections: 0);
        }
    }

    private static async Task RunRoundsAsync(StressPool test, int threads, int steps, bool capChanges)
    {
        ConcurrentQueue<(RmaBuffer Buffer, long Pattern)> handedOver = new();
        StressTime time = new();
        long rents = 0;
        long rejections = 0;
        for (int round = 0; !time.IsOver; round++)
        {
            // Each round uses new threads: those of the last one are dead, with blocks in their magazines.
            Mixer[] mixers = [.. Enumerable.Range(0, threads).Select(i => new Mixer(test.Pool, handedOver, seed: (round * threads) + i))];
            Task running = Task.WhenAll(mixers.Select(m => Task.Factory.StartNew(() => m.Run(steps), Token, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
            // The cap goes below the rented memory, and up again; no request is longer than any of the caps.
            for (long change = round; capChanges && !running.IsCompleted; change++)
                test.SetLimit((512 << 10) << (int)(change * 7 % 5));
            await running;
            while (handedOver.TryDequeue(out (RmaBuffer Buffer, long Pattern) left))
                Mixer.Return(left.Buffer, left.Pattern);
            rents += mixers.Sum(m => m.Rents);
            rejections += mixers.Sum(m => m.Rejections);
            test.AssertAtRest(rents, rejections);
        }
    }

    private static bool TryReturn(RmaBuffer buffer)
    {
        try
        {
            buffer.Dispose();
            return true;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }
}
