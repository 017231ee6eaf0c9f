using AllocTools.Regions;

namespace AllocTools.Tests.Model;

/// <summary>Predicts the result of a request from the rented and registered memory, and the pool's totals.</summary>
/// <remarks>
/// It knows the rules of the pool, but not its magazines, shelves and order: the location of an idle block is an
/// internal matter of the pool.
/// </remarks>
internal sealed class PoolOracle(PoolModel model)
{
    private PoolShape Shape => model.Shape;

    /// <summary>Predicts the outcome of a new request.</summary>
    public Outcome OfRequest(long length)
    {
        if (length <= 0 || length > model.Cap)
            return new Outcome(OutcomeKind.BadLength);
        if (model.Life != LifeState.Open)
            return new Outcome(OutcomeKind.NotOpen);
        if (model.Waiting.Count == 0)
            return OfWaiter(length);
        // Waiters come first: a newcomer gets only the idle memory that they leave.
        int owner = Shape.OwnerOf(length);
        if (model.Waiting.Any(w => w.Owner == owner))
            return new Outcome(OutcomeKind.NoRoom);
        if (HasIdle(owner, length))
            return new Outcome(OutcomeKind.Hit, owner);
        // Whether a waiter might miss memory that is registered for the newcomer is for the pool to decide;
        // OvertakingTests cover that.
        return new Outcome(model.Pool.SparesRoomFor(length) ? OutcomeKind.Growth : OutcomeKind.NoRoom, model.Pool.SparesRoomFor(length) ? owner : -1);
    }

    /// <summary>Predicts the outcome of the waiter that is next.</summary>
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

    /// <summary>
    /// Whether the bytes can be registered, if necessary in place of idle memory elsewhere. A class's initial memory
    /// stays.
    /// </summary>
    public bool Fits(long bytes, int owner) =>
        model.Cap - model.Context.Live.Values.Sum() + IdleRegions(owner) - KeptRegions() >= bytes;

    /// <summary>Whether a direct request can't fit besides the memory that is kept from the start.</summary>
    public bool NeverFits(long length) =>
        Shape.OwnerOf(length) == Shape.Direct && PoolModel.RoundToPages(length) > model.Cap - model.Pool.InitialRegions.Sum(r => r.Length);

    /// <summary>
    /// Returns the idle bytes of that memory. The requesting owner has none, or the request would be served from it.
    /// </summary>
    private long KeptRegions()
    {
        HashSet<IRmaRegistration> taken = [.. model.Taken.Select(l => l.Registration)];
        return model.Pool.InitialRegions.Where(r => !taken.Contains(r.Registration)).Sum(r => r.Length);
    }

    /// <summary>Returns the bytes of all regions without rented memory, except those of one owner.</summary>
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

    /// <summary>Returns the number of idle blocks of a class.</summary>
    public long IdleBlocks(int owner) => model.Statistics.SizeClasses[owner].TotalBuffers - model.Taken.Count(l => l.Owner == owner);

    private bool HasIdle(int owner, long length)
    {
        if (owner != Shape.Direct)
            return IdleBlocks(owner) > 0;
        // A region serves a request that wastes at most a quarter of it.
        long bytes = PoolModel.RoundToPages(length);
        return model.IdleDirect().Any(idle => idle >= bytes && idle <= bytes + (bytes / 3));
    }

    /// <summary>Returns the lengths of the slabs with rented blocks.</summary>
    private IEnumerable<long> InUse(int owner)
    {
        IReadOnlyDictionary<IRmaRegistration, long> live = model.Context.Live;
        return model.Taken.Where(l => l.Owner == owner).Select(l => l.Registration).Distinct().Select(r => live[r]);
    }
}
