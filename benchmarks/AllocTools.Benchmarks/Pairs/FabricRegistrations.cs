using AllocTools.Libfabric;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Compares a pool with a registration for each request, on a fabric of the caller's choice.</summary>
/// <param name="provider">libfabric's name of the provider.</param>
/// <param name="node">The address of the fabric.</param>
internal sealed class FabricRegistrations(string provider, string node)
{
    private static readonly int[] Sizes = [4 << 10, 64 << 10, 1 << 20, 4 << 20];

    public IEnumerable<Comparison> Comparisons()
    {
        foreach (int size in Sizes)
            yield return new($"rent + return, {ByteSize.Text(size)}", () => Pooled(size), $"fi_mr_regattr + fi_close each time, {provider}", () => RegisterEachTime.On(Provider(), size));
        foreach (int size in Sizes)
            yield return new($"own array by the registration cache, {ByteSize.Text(size)}", () => CachedMemory.Cached(Provider(), size), $"pool.Register each time, {provider}", () => CachedMemory.Cold(Provider(), size));
    }

    private LibfabricProvider Provider() => new(new LibfabricOptions { Provider = provider, Node = node });

    private Workload Pooled(int size)
    {
        IRmaContext context = Provider().Open();
        RmaMemoryPool<LibfabricProvider> pool = new(context, new RmaMemoryPoolOptions());
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    pool.Rent(size).Dispose();
            },
            () =>
            {
                pool.Dispose();
                context.Dispose();
            });
    }
}
