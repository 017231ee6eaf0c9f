namespace AllocTools.Benchmarks.Pairs;

/// <summary>One side of a comparison.</summary>
internal interface IWorkload : IDisposable
{
    /// <summary>Does so many rents and returns (or what is compared). Called again and again on one thread.</summary>
    void Run(int operations);
}
