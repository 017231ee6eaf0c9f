using System.Runtime.CompilerServices;
using AllocTools.Benchmarks.Pairs;
using AllocTools.Cells;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>Compares reads of a cell at rest with plain reads of as many bytes, between two contexts of this process.</summary>
internal static class CellReads
{
    [InlineArray(8)]
    private struct CacheLine
    {
        private long _first;
    }

    private static readonly string[] Providers = ["tcp;ofi_rxm", "shm"];

    public static IEnumerable<Comparison> All() => Providers.Select(provider => new Comparison(
        $"a cell of 64 B read, {provider}", () => Of(provider, isCell: true), "a read of its 88 B", () => Of(provider, isCell: false)));

    private static Workload Of(string provider, bool isCell)
    {
        (IRmaContext context, RmaMemoryPool<HostProvider> pool, IRmaEndpoint endpoint) = Open(provider);
        (IRmaContext otherContext, RmaMemoryPool<HostProvider> otherPool, IRmaEndpoint otherEndpoint) = Open(provider);
        RmaBuffer memory = otherPool.Rent(RmaCell.SizeOf<CacheLine>());
        RmaCell<CacheLine> cell = new(memory);
        RmaExposure exposure = cell.Expose();
        otherEndpoint.InsertPeer(endpoint.Address.Span);
        RemoteRegion region = endpoint.Import(endpoint.InsertPeer(otherEndpoint.Address.Span), exposure.Remote);
        RmaCellReader<CacheLine> reader = new(endpoint, pool, region);
        RmaBuffer image = pool.Rent(memory.Length);
        return new Workload(
            operations => (isCell ? ReadCellAsync(operations) : ReadPlainlyAsync(operations)).GetAwaiter().GetResult(),
            () =>
            {
                image.Dispose();
                region.Dispose();
                exposure.Dispose();
                memory.Dispose();
                foreach (IDisposable disposable in new IDisposable[] { endpoint, otherEndpoint, pool, otherPool, context, otherContext })
                    disposable.Dispose();
            });

        async Task ReadCellAsync(int operations)
        {
            for (int i = 0; i < operations; i++)
                await reader.ReadAsync();
        }

        async Task ReadPlainlyAsync(int operations)
        {
            for (int i = 0; i < operations; i++)
                await endpoint.ReadAsync(image, region);
        }
    }

    private static (IRmaContext Context, RmaMemoryPool<HostProvider> Pool, IRmaEndpoint Endpoint) Open(string provider)
    {
        IRmaContext context = new LibfabricProvider(new LibfabricOptions { Provider = provider, Node = provider == "shm" ? null : "127.0.0.1" }).Open();
        return (context, new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead }), context.OpenEndpoint());
    }
}
