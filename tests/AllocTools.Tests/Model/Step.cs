namespace AllocTools.Tests.Model;

/// <summary>An action on a pool. It contains only data: its target is chosen by number when it runs.</summary>
internal abstract record Step
{
    /// <summary>Gets the number of the thread that runs it; 0 is the scenario's own thread.</summary>
    public int Thread { get; init; }

    public abstract void Run(PoolModel model);

    /// <summary>Returns an item of a list by any number, or null if the list is empty.</summary>
    protected static T? Pick<T>(IReadOnlyList<T> from, int number)
        where T : class => from.Count == 0 ? null : from[number % from.Count];
}
