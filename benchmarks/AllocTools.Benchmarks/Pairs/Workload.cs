namespace AllocTools.Benchmarks.Pairs;

/// <summary>A workload of a loop and an end.</summary>
internal sealed class Workload(Action<int> run, Action? dispose = null) : IWorkload
{
    public void Run(int operations) => run(operations);

    public void Dispose() => dispose?.Invoke();
}
