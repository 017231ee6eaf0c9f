using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.Model;

/// <summary>
/// The invariants of a pool whenever no thread uses it: the pool's statistics compared with those of the model and the
/// provider.
/// </summary>
internal sealed class PoolBooks(PoolModel model, PoolOracle oracle)
{
    public void Check()
    {
        Assert.Equal([], model.Context.Violations);
        RmaPoolStatistics now = model.Statistics;
        IReadOnlyDictionary<IRmaRegistration, long> live = model.Context.Live;
        CheckRegistrations(now, live);
        CheckRequests(now);
        for (int owner = 0; owner <= model.Shape.User; owner++)
            CheckOwner(owner, now.SizeClasses[owner], live);
        Assert.Equal(now.RegisteredBytes, now.SizeClasses.Sum(c => c.RegisteredBytes) + model.Exposed.Sum(e => live.GetValueOrDefault(e)));
        // The share of the magazines.
        Assert.InRange(model.Pool.MagazineBytes, 0, model.Cap / 8);
        CheckLife(live);
    }

    private void CheckRegistrations(RmaPoolStatistics now, IReadOnlyDictionary<IRmaRegistration, long> live)
    {
        Assert.Equal(live.Values.Sum(), now.RegisteredBytes);
        Assert.Equal(live.Values.Sum(), model.UserBytes + model.ExposedBytes + model.Blocks.Mapped);
        // Above a lowered cap, only rented buffers and the rest of their slabs remain.
        if (now.RegisteredBytes > now.LimitBytes)
            Assert.Equal(0, oracle.IdleRegions(besides: -1));
        Assert.InRange(now.RegisteredBytes, 0, model.HighestCap);
        Assert.Equal(model.Cap, now.LimitBytes);
        Assert.Equal(model.Context.Made, now.Registrations);
        Assert.Equal(model.Context.Undone, now.Deregistrations);
        Assert.Equal(live.Count, now.Registrations - now.Deregistrations);
        Assert.Equal(model.Context.Refused, now.RegistrationFailures);
        Assert.Equal(0, now.DeregistrationFailures);
    }

    private void CheckRequests(RmaPoolStatistics now)
    {
        Assert.Equal(model.Served, now.Hits + now.Misses);
        // Each rent that was not a hit has registered once.
        Assert.Equal(model.Context.Made - model.MadeAside, now.Misses);
        Assert.Equal(model.Rejected, now.Rejections);
        Assert.Equal(model.Waiting.Count, now.PendingRequests);
    }

    private void CheckOwner(int owner, RmaSizeClassStatistics now, IReadOnlyDictionary<IRmaRegistration, long> live)
    {
        Assert.Equal(model.Out.Count(l => l.Owner == owner), now.RentedBuffers);
        Assert.Equal(model.Quarantined.Count(l => l.Owner == owner), now.QuarantinedBuffers);
        Assert.InRange(now.IdleBuffers, 0, now.TotalBuffers);
        if (owner < model.Shape.Direct)
        {
            // A slab consists of blocks, and less than a page in addition.
            Assert.InRange(now.RegisteredBytes - (now.TotalBuffers * now.BlockSize), 0, now.Slabs * (PoolModel.PageSize - 1L));
            Assert.InRange(now.Slabs, 0, now.TotalBuffers);
            return;
        }
        Assert.Equal(now.TotalBuffers, now.Slabs);
        IReadOnlyList<long> idle = owner == model.Shape.Direct ? model.IdleDirect() : [];
        Assert.Equal(idle.Count, now.IdleBuffers);
        Assert.Equal(idle.Sum() + model.Taken.Where(l => l.Owner == owner).Sum(l => live[l.Registration]), now.RegisteredBytes);
        Assert.InRange(idle.Sum(), 0, model.Shape.MaxIdleDirectBytes);
    }

    private void CheckLife(IReadOnlyDictionary<IRmaRegistration, long> live)
    {
        Assert.All(model.Taken, l => Assert.True(live.ContainsKey(l.Registration), "memory that is out is not registered"));
        if (model.Life == LifeState.Closed)
        {
            // Only rented memory is kept.
            HashSet<IRmaRegistration> inUse = [.. model.Taken.Select(l => l.Registration), .. model.Exposed];
            Assert.True(inUse.SetEquals(live.Keys), "a closed pool keeps memory of which nothing is out");
        }
        Assert.Equal(model.Life == LifeState.Closed && live.Count == 0, model.Context.WasClosed);
    }
}
