namespace AllocTools.Benchmarks.Pairs;

/// <summary>A workload that consists of a loop and a clean-up.</summary>
internal sealed class Workload(Action<int> run, Action? dispose = null) : IWorkload
{
    public void Run(int operations) => run(operations);

    public void Dispose() => dispose?.Invoke();
}
