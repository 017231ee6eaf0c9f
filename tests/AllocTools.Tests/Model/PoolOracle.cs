using AllocTools.Regions;

namespace AllocTools.Tests.Model;

/// <summary>Predicts the result of a request from the rented and registered memory, and the pool's totals.</summary>
/// <remarks>It knows the rules of the pool, not its magazines, shelves and order: where an idle block is, is the pool's affair.</remarks>
internal sealed class PoolOracle(PoolModel model)
{
    private PoolShape Shape => model.Shape;

    /// <summary>What a newcomer's request must come to.</summary>
    public Outcome OfRequest(long length)
    {
        if (length <= 0 || length > model.Cap)
            return new Outcome(OutcomeKind.BadLength);
        if (model.Life != LifeState.Open)
            return new Outcome(OutcomeKind.NotOpen);
        if (model.Waiting.Count == 0)
            return OfWaiter(length);
        // Who waits goes first: the rest of what is idle is all that a newcomer gets.
        int owner = Shape.OwnerOf(length);
        if (model.Waiting.Any(w => w.Owner == owner))
            return new Outcome(OutcomeKind.NoRoom);
        if (HasIdle(owner, length))
            return new Outcome(OutcomeKind.Hit, owner);
        // Whether none of them misses what is registered for it is the pool's to say: OvertakingTests hold that.
        return new Outcome(model.Pool.SparesRoomFor(length) ? OutcomeKind.Growth : OutcomeKind.NoRoom, model.Pool.SparesRoomFor(length) ? owner : -1);
    }

    /// <summary>What a request must come to whose turn it is.</summary>
    public Outcome OfWaiter(long length)
    {
        if (length > model.Cap)
            return new Outcome(OutcomeKind.BadLength);
        int owner = Shape.OwnerOf(length);
        if (HasIdle(owner, length))
            return new Outcome(OutcomeKind.Hit, owner);
        long needed = PoolModel.RoundToPages(owner == Shape.Direct ? length : Shape.Classes[owner].BlockSize);
        if (Fits(needed, owner))
            return new Outcome(OutcomeKind.Growth, owner);
        for (int larger = owner + 1; larger < Shape.Direct; larger++)
        {
            if (IdleBlocks(larger) > 0)
                return new Outcome(OutcomeKind.Hit, larger);
        }
        return new Outcome(OutcomeKind.NoRoom);
    }

    /// <summary>Whether so many bytes can be registered, if need be in place of what is idle elsewhere. What a class has from the start stays.</summary>
    public bool Fits(long bytes, int owner) =>
        model.Cap - model.Context.Live.Values.Sum() + IdleRegions(owner) - KeptRegions() >= bytes;

    /// <summary>A direct request for which there is no room besides the memory that is kept from the start.</summary>
    public bool NeverFits(long length) =>
        Shape.OwnerOf(length) == Shape.Direct && PoolModel.RoundToPages(length) > model.Cap - model.Pool.InitialRegions.Sum(r => r.Length);

    /// <summary>What is idle of that. An owner that asks has none of it, or it would be served from it.</summary>
    private long KeptRegions()
    {
        HashSet<IRmaRegistration> taken = [.. model.Taken.Select(l => l.Registration)];
        return model.Pool.InitialRegions.Where(r => !taken.Contains(r.Registration)).Sum(r => r.Length);
    }

    /// <summary>The bytes of all regions of which nothing is out, but for one owner's.</summary>
    public long IdleRegions(int besides)
    {
        long idle = model.IdleDirect().Sum();
        RmaPoolStatistics now = model.Statistics;
        for (int owner = 0; owner < Shape.Direct; owner++)
        {
            if (owner != besides)
                idle += now.SizeClasses[owner].RegisteredBytes - InUse(owner).Sum();
        }
        return idle;
    }

    /// <summary>Idle blocks of a class.</summary>
    public long IdleBlocks(int owner) => model.Statistics.SizeClasses[owner].TotalBuffers - model.Taken.Count(l => l.Owner == owner);

    private bool HasIdle(int owner, long length)
    {
        if (owner != Shape.Direct)
            return IdleBlocks(owner) > 0;
        // One serves what wastes at most a quarter of it.
        long bytes = PoolModel.RoundToPages(length);
        return model.IdleDirect().Any(idle => idle >= bytes && idle <= bytes + (bytes / 3));
    }

    /// <summary>The lengths of the slabs of which something is out.</summary>
    private IEnumerable<long> InUse(int owner)
    {
        IReadOnlyDictionary<IRmaRegistration, long> live = model.Context.Live;
        return model.Taken.Where(l => l.Owner == owner).Select(l => l.Registration).Distinct().Select(r => live[r]);
    }
}
