using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.Model;

/// <summary>The part about the start, time and the end.</summary>
internal sealed partial class PoolModel
{
    public void WarmUp()
    {
        int refused = Context.Refused;
        int made = Context.Made;
        long misses = Statistics.Misses;
        bool isQuiet = Waiting.Count == 0;
        IReadOnlyDictionary<IRmaRegistration, long> before = Context.Live;
        Exception? error = Record.Exception(() => Pool.WarmUpAsync().GetAwaiter().GetResult());
        // Waiters may take the new memory, or cause it to be given back for something else.
        Settle();
        misses = Statistics.Misses - misses;
        Assert.True(misses == 0 || !isQuiet, "a warm-up is no request");
        MadeAside += Context.Made - made - misses;
        _initial.UnionWith(Context.Live.Keys.Where(r => !before.ContainsKey(r) && !_owners.ContainsKey(r)));
        bool isComplete = Enumerable.Range(0, Shape.Classes.Count).All(c => Statistics.SizeClasses[c].TotalBuffers >= Shape.Classes[c].InitialBlocks);
        switch (error)
        {
            case null:
                Assert.True(isComplete || !isQuiet, "initial blocks are missing");
                break;
            case ObjectDisposedException:
                Assert.NotEqual(LifeState.Open, Life);
                break;
            case RmaRegistrationException:
                Assert.True(Context.Refused > refused, "no registration was refused");
                break;
            default:
                Assert.IsType<RmaPoolExhaustedException>(error);
                Assert.False(isComplete && isQuiet, "there are all initial blocks");
                break;
        }
    }

    /// <summary>Lets time pass, tick by tick: waiters give up, idle memory is given back.</summary>
    public void Advance(int ticks)
    {
        // Waiters that give up cause others to be served, which may give idle memory back.
        bool isQuiet = Waiting.Count == 0;
        for (int i = 0; i < ticks; i++)
        {
            long[] before = [.. Totals()];
            IRmaRegistration[] initial = [.. Context.Live.Keys.Where(_initial.Contains)];
            AdvanceOneTick();
            _books.Check();
            if (!isQuiet)
                continue;
            Assert.All(Totals(), (total, c) => Assert.InRange(total, Math.Min(before[c], Shape.Classes[c].InitialBlocks), before[c]));
            Assert.Subset(Context.Live.Keys.ToHashSet(), initial.ToHashSet());
        }
        // Two checks find the blocks in unused magazines, and one more finds those that have been idle since then.
        if (isQuiet && Shape.RetentionSeconds is { } retention && ticks >= retention + 3)
            AssertNothingIdleIsKept();
    }

    public void ChangeCap(long cap)
    {
        Cap = cap;
        HighestCap = Math.Max(HighestCap, cap);
        Pool.SetLimit(cap);
    }

    public void Drain()
    {
        ValueTask<bool> drain = Pool.DrainAsync(TimeSpan.Zero);
        if (Life == LifeState.Open)
            Life = LifeState.Draining;
        Assert.Equal(Out.Count == 0, drain.AsTask().GetAwaiter().GetResult());
    }

    public void Close()
    {
        Life = LifeState.Closed;
        Pool.DisposeAsync().AsTask().GetAwaiter().GetResult();
        Pool.Dispose();
    }

    /// <summary>Stops at each time at which a waiter gives up, so that none does so while another one is served.</summary>
    private void AdvanceOneTick()
    {
        DateTimeOffset end = Time.GetUtcNow() + PoolShape.Tick;
        while (Waiting.Count > 0 && Waiting[0].Deadline <= end)
        {
            Time.Advance(Waiting[0].Deadline - Time.GetUtcNow());
            Settle();
        }
        Time.Advance(end - Time.GetUtcNow());
        Settle();
    }

    private IEnumerable<long> Totals() => Statistics.SizeClasses.Take(Shape.Classes.Count).Select(c => c.TotalBuffers);

    private void AssertNothingIdleIsKept()
    {
        Assert.Equal([], IdleDirect());
        HashSet<IRmaRegistration> taken = [.. Taken.Select(l => l.Registration), .. Exposed, .. _initial];
        foreach ((IRmaRegistration slab, long length) in Context.Live.Where(r => !taken.Contains(r.Key)))
        {
            // Slabs that were not there from the start were registered for a rent, so their owner is known.
            int owner = _owners[slab];
            (long blockSize, int initialBlocks) = Shape.Classes[owner];
            long without = Statistics.SizeClasses[owner].TotalBuffers - (length / blockSize);
            Assert.True(without < initialBlocks, $"an idle slab of {length} bytes of class {blockSize} is kept");
        }
    }
}
