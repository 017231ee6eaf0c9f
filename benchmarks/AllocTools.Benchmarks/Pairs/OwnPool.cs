using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>This library's pool, on page-locked memory of this process.</summary>
internal sealed class OwnPool : IDisposable
{
    private readonly IRmaContext _context;

    public OwnPool(long maxRegisteredBytes = 4L << 30)
    {
        _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.BestEffort }).Open();
        Pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions
        {
            MaxRegisteredBytes = maxRegisteredBytes,
            IdleRetention = Timeout.InfiniteTimeSpan,
        });
    }

    public RmaMemoryPool<HostProvider> Pool { get; }

    public void Dispose()
    {
        Pool.Dispose();
        _context.Dispose();
    }
}
