namespace AllocTools.Tests.Model;

/// <summary>Something that is done with a pool. It is data alone: what it hits is found by number when its turn comes.</summary>
internal abstract record Step
{
    /// <summary>The thread that does it; 0 is the scenario's own.</summary>
    public int Thread { get; init; }

    public abstract void Run(PoolModel model);

    /// <summary>One of a list by any number; null where there is none.</summary>
    protected static T? Pick<T>(IReadOnlyList<T> from, int number)
        where T : class => from.Count == 0 ? null : from[number % from.Count];
}
