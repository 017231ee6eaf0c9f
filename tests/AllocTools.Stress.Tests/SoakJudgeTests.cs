using System.Runtime.InteropServices;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Soak;
using Xunit;

namespace AllocTools.Stress.Tests;

/// <summary>Tests the soak's judge with known series, and with a process that really leaks.</summary>
[Collection(nameof(SoakJudgeTests))]
public sealed class SoakJudgeTests
{
    private const int Cycles = 12;

    private static readonly Measure Registrations = Find("registrations");

    [CollectionDefinition(nameof(SoakJudgeTests), DisableParallelization = true)]
    public sealed class Alone;

    public static TheoryData<string> Leaks { get; } = [.. Measure.All.Where(static m => m.Name is not ("connections" or "resident")).Select(static m => m.Name)];

    [Fact]
    public void AnExactLineIsFoundWithoutAnError()
    {
        var trend = Trend.Fit([.. Enumerable.Range(0, 13).Select(static i => (TimeSpan.FromMinutes(5 * i), 100 + 7.0 * i))]);
        Assert.Equal(7 * 12, trend.Slope, 1e-9);
        Assert.Equal(0, trend.Error, 1e-9);
        Assert.Equal(7 * 12, trend.Growth, 1e-9);
        Assert.Equal(100, trend.Start, 1e-9);
        Assert.Equal(142, trend.Level, 1e-9);
    }

    [Fact]
    public void TheErrorIsThatOfTheTextbook()
    {
        // x = 0 to 4 h and y = 1, 3, 2, 5, 4: slope 0.8, squared residuals 3.6, 10 around the mean of x: the error is the root of 3.6 / 3 / 10.
        double[] values = [1, 3, 2, 5, 4];
        var trend = Trend.Fit([.. values.Select(static (v, i) => (TimeSpan.FromHours(i), v))]);
        Assert.Equal(0.8, trend.Slope, 1e-9);
        Assert.Equal(Math.Sqrt(0.12), trend.Error, 1e-9);
    }

    [Fact]
    public void ValuesThatFollowEachOtherSayLess()
    {
        double[] wave = [.. Enumerable.Range(0, 40).Select(static i => Math.Sin(i * Math.PI / 10))];
        // These are the same values in an order in which neighbours are not alike.
        double[] mixed = [.. Enumerable.Range(0, 40).Select(i => wave[i * 11 % 40])];
        Assert.True(ErrorOf(wave) > 2 * ErrorOf(mixed), $"{ErrorOf(wave)} {ErrorOf(mixed)}");

        static double ErrorOf(double[] values) => Trend.Fit([.. values.Select(static (v, i) => (TimeSpan.FromHours(i), v))]).Error;
    }

    [Fact]
    public void ALineThroughTooFewValuesIsRefused()
    {
        Assert.Throws<ArgumentException>(() => Trend.Fit([.. Enumerable.Range(0, Trend.FewestValues - 1).Select(static i => (TimeSpan.FromHours(i), 1.0))]));
        Assert.Throws<ArgumentException>(() => Trend.Fit([.. Enumerable.Repeat((TimeSpan.FromHours(1), 1.0), Trend.FewestValues)]));
    }

    [Fact]
    public void NoiseAroundALevelIsFlatAndTheSameNoiseAroundALeakIsNot()
    {
        for (int seed = 0; seed < 200; seed++)
        {
            long[] noise = Noise(seed, 60);
            Assert.True(Judge(noise).IsFlat, $"{seed}: {Judge(noise)}");
            // One registration per cycle is less than the noise between cycles.
            Verdict leak = Judge([.. noise.Select(static (v, i) => v + i)]);
            Assert.False(leak.IsFlat, $"{seed}: {leak}");
            Assert.InRange(leak.PerCycle, 0.5, 1.5);
        }

        static Verdict Judge(long[] values) => Registrations.Judge("test", [.. values.Select(static (v, i) => new Sample { Time = TimeSpan.FromSeconds(2 * i), Registrations = v })]);

        static long[] Noise(int seed, int count)
        {
            var random = new Random(seed);
            return [.. Enumerable.Range(0, count).Select(_ => 100L + random.Next(-4, 5))];
        }
    }

    /// <summary>
    /// Three buffers and their exposures, which the load leaves in one to three slabs, more of them in the second half:
    /// a run of an hour has shown this.
    /// </summary>
    [Fact]
    public void WhatLivesMaySpreadOverAsManySlabsAsItHasBuffersAndNothingBeyondThatMayCome()
    {
        for (int seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            long[] slabs = [.. Enumerable.Range(0, 60).Select(i => i < 30 ? random.Next(1, 3) : random.Next(2, 4))];
            Assert.All(Judge(slabs, static _ => 0), static v => Assert.True(v.IsFlat, v.ToString()));
            Assert.All(Judge(slabs, static i => i), static v => Assert.False(v.IsFlat, v.ToString()));
            // One registration in ten cycles is detected, too.
            Assert.All(Judge(slabs, static i => i / 10), static v => Assert.False(v.IsFlat, v.ToString()));
            // If buffers are lost together with what they keep, that is no excuse.
            Assert.All(Judge(slabs, static i => i, isBuffer: true), static v => Assert.False(v.IsFlat, v.ToString()));
        }

        static Verdict[] Judge(long[] slabs, Func<int, long> lost, bool isBuffer = false)
        {
            const long Slab = 1 << 20, Exposure = 64 << 10, Living = 3;
            Sample[] samples = [.. slabs.Select((s, i) =>
            {
                long living = Living + (isBuffer ? lost(i) : 0);
                return new Sample
                {
                    Time = TimeSpan.FromSeconds(10 * i),
                    Registrations = s + Living + lost(i),
                    RegisteredBytes = s * Slab + Living * Exposure + lost(i) * Slab,
                    KeptRegistrations = 2 * living,
                    KeptBytes = living * (Slab + Exposure),
                };
            })];
            return [.. Measure.All.Where(static m => m.Kept is not null).Select(m => m.Judge("test", samples))];
        }
    }

    [Fact]
    public void WhatLivesIsCountedWhereItLies()
    {
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        var options = new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead, Isolation = RmaIsolation.PerExposure, MaxSlabBytes = 1 << 20, IdleRetention = Timeout.InfiniteTimeSpan };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
        using var pool = new RmaMemoryPool<HostProvider>(context, options);
        using (pool.Rent(1000))
        using (RmaBuffer buffer = pool.Rent(60_000))
        using (buffer.Expose(RmaAccess.RemoteRead))
        using (RmaBuffer region = pool.Rent(500_000))
        {
            Sample sample = Sample.Take(TimeSpan.Zero, pool.GetStatistics(), connections: 0);
            Assert.Equal(3, sample.Registrations);
            Assert.Equal(6, sample.KeptRegistrations);
            Assert.Equal(pool.GetStatistics().RegisteredBytes, sample.RegisteredBytes);
            Assert.Equal(2 * ((1 << 20) + (64 << 10)) + 2 * region.Capacity, sample.KeptBytes);
        }
        // Nothing keeps idle memory.
        Sample idle = Sample.Take(TimeSpan.Zero, pool.GetStatistics(), connections: 0);
        Assert.Equal((0, 0), (idle.KeptRegistrations, idle.KeptBytes));
        Assert.True(idle.Registrations > 0);
    }

    /// <summary>The soak can fail by each measure: it reports a real process that loses one item per cycle.</summary>
    [Theory]
    [MemberData(nameof(Leaks))]
    public void WhatAProcessLosesInEachCycleIsReported(string measure)
    {
        // Nothing else in this process changes the pool's own measures, so they must be flat if nothing is lost.
        if (Find(measure).Settling == 0)
            Assert.True(Find(measure).Judge("test", Run(static (_, _) => { })).IsFlat);
        List<Action> undo = [];
        try
        {
            Verdict verdict = Find(measure).Judge("test", Run((pool, memory) => undo.Add(Lose(measure, pool, memory))));
            Assert.False(verdict.IsFlat, verdict.ToString());
            Assert.True(verdict.PerCycle > 0.5, verdict.ToString());
        }
        finally
        {
            undo.ForEach(static u => u());
        }
    }

    private static Measure Find(string name) => Measure.All.Single(m => m.Name == name);

    /// <summary>Runs cycles of a pool in use, each with a sample at its end.</summary>
    private static List<Sample> Run(Action<IRmaMemoryPool, nint> lose)
    {
        const int Length = 1 << 16;
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead, Isolation = RmaIsolation.PerExposure, IdleRetention = Timeout.InfiniteTimeSpan, DrainTimeout = TimeSpan.Zero });
        nint memory = Marshal.AllocHGlobal((Cycles + 1) * Length);
        List<Sample> samples = [];
        for (int cycle = 0; cycle < Cycles; cycle++)
        {
            for (int i = 0; i < 100; i++)
            {
                using RmaBuffer rented = pool.Rent(1000);
                using RmaExposure exposure = rented.Expose(RmaAccess.RemoteRead);
            }
            using (pool.Register(memory, Length))
                lose(pool, memory + (cycle + 1) * Length);
            samples.Add(Sample.Take(TimeSpan.FromSeconds(cycle), pool.GetStatistics(), connections: 0));
        }
        pool.Dispose();
        Marshal.FreeHGlobal(memory);
        return samples;
    }

    /// <summary>Loses an item, and returns an action that releases it after all.</summary>
    private static Action Lose(string measure, IRmaMemoryPool pool, nint memory)
    {
        // Native memory is only mapped, so it may far exceed what the process meanwhile gives back of other tests' memory.
        const int Bytes = 8 << 20, NativeBytes = 64 << 20;
        switch (measure)
        {
            case "managed heap":
                byte[] array = GC.AllocateUninitializedArray<byte>(Bytes);
                return () => GC.KeepAlive(array);
            case "native heap" or "mapped":
                nint block = Marshal.AllocHGlobal(NativeBytes);
                return () => Marshal.FreeHGlobal(block);
            case "descriptors":
                FileStream file = File.OpenRead("/dev/null");
                return file.Dispose;
            case "threads":
                var end = new ManualResetEventSlim();
                var thread = new Thread(end.Wait);
                thread.Start();
                return () =>
                {
                    end.Set();
                    thread.Join();
                    end.Dispose();
                };
            case "registrations" or "registered":
                RmaBuffer registered = pool.Register(memory, 1 << 16);
                return () => GC.KeepAlive(registered);
            case "rented, exposed":
                RmaBuffer rented = pool.Rent(1000);
                return () => GC.KeepAlive(rented);
            default:
                throw new ArgumentOutOfRangeException(nameof(measure), measure, "Nothing is known that loses it.");
        }
    }
}
