using System.Diagnostics;
using AllocTools.Endpoints.Engine;
using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class CoarseClockTests
{
    [Fact]
    public void AStartIsNeverEarlyAndHardlyLate()
    {
        CoarseClock clock = new(TimeProvider.System);
        TimeSpan timeout = TimeSpan.FromSeconds(30);
        long tick = Environment.TickCount64;
        long ticked = Stopwatch.GetTimestamp();
        for (long until = tick + 200; tick < until; tick = Environment.TickCount64)
        {
            clock.Now();
            long before = Stopwatch.GetTimestamp();
            long start = clock.Start(timeout);
            long after = Stopwatch.GetTimestamp();
            if (Environment.TickCount64 != tick)
                ticked = before;
            // A virtual machine's ticks may stand still.
            bool isTicking = Stopwatch.GetElapsedTime(ticked, after) < TimeSpan.FromMilliseconds(16);
            Assert.True(start >= before || !isTicking, "an operation would time out early");
            Assert.True(Stopwatch.GetElapsedTime(after, start) < TimeSpan.FromMilliseconds(20), "an operation would time out late");
        }
    }

    [Fact]
    public void AnotherClockAndAShortTimeoutAreReadEachTime()
    {
        CoarseClock clock = new(TimeProvider.System);
        clock.Now();
        long before = Stopwatch.GetTimestamp();
        long start = clock.Start(TimeSpan.FromMilliseconds(1));
        Assert.InRange(start, before, Stopwatch.GetTimestamp());

        CountingTime time = new();
        CoarseClock other = new(time);
        Assert.Equal(1, other.Now());
        Assert.Equal(2, other.Now());
        Assert.Equal(3, other.Start(TimeSpan.FromSeconds(30)));
    }

    private sealed class CountingTime : TimeProvider
    {
        private long _reads;

        public override long GetTimestamp() => ++_reads;
    }
}
