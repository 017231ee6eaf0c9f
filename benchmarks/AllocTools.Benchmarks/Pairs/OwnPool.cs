using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>This library's pool, on page-locked memory of this process.</summary>
internal sealed class OwnPool : IDisposable
{
    private readonly IRmaContext _context;

    /// <param name="maxRegisteredBytes">The cap.</param>
    /// <param name="classSize">The block size of the pool's only class; null for the default classes.</param>
    public OwnPool(long maxRegisteredBytes = 4L << 30, long? classSize = null)
    {
        _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.BestEffort }).Open();
        RmaMemoryPoolOptions options = new()
        {
            MaxRegisteredBytes = maxRegisteredBytes,
            IdleRetention = Timeout.InfiniteTimeSpan,
        };
        if (classSize is { } size)
            options.SizeClasses.Add(new SizeClassOptions { BlockSize = size });
        Pool = new RmaMemoryPool<HostProvider>(_context, options);
    }

    public RmaMemoryPool<HostProvider> Pool { get; }

    public void Dispose()
    {
        Pool.Dispose();
        _context.Dispose();
    }
}
