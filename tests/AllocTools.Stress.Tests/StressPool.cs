using AllocTools.HostMemory;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Stress.Tests;

/// <summary>
/// A small pool that is often at its cap and trims all the time, with the invariants that hold when nobody uses it.
/// </summary>
internal sealed class StressPool : IAsyncDisposable
{
    private readonly ObservedContext _context;
    private readonly RmaMemoryPool<HostProvider> _pool;

    public StressPool(Action<int>? beforeRegister = null, long maxRegisteredBytes = 6 << 20)
    {
        _context = new ObservedContext(beforeRegister);
        var options = new RmaMemoryPoolOptions
        {
            MaxRegisteredBytes = maxRegisteredBytes,
            MaxIdleDirectBytes = 1 << 20,
            IdleRetention = TimeSpan.Zero,
            TrimInterval = TimeSpan.FromMilliseconds(10),
            RentTimeout = TimeSpan.FromSeconds(60),
            DrainTimeout = TimeSpan.FromSeconds(60),
        };
        foreach (long size in new[] { 1 << 10, 16 << 10, 64 << 10, 256 << 10 })
            options.SizeClasses.Add(new SizeClassOptions { BlockSize = size });
        _pool = new RmaMemoryPool<HostProvider>(_context, options);
        _context.Dispose();
    }

    public IRmaMemoryPool Pool => _pool;

    public int Registrations => _context.Registrations;

    /// <summary>Changes the cap while the pool is in use.</summary>
    public void SetLimit(long bytes) => _pool.SetLimit(bytes);

    /// <summary>Asserts that everything was returned, while no thread uses the pool.</summary>
    public void AssertAtRest(long rents, long rejections)
    {
        RmaPoolStatistics now = _pool.GetStatistics();
        // The trimmer may be running: it removes blocks from the total and the idle ones alike, under one lock.
        foreach (RmaSizeClassStatistics sizeClass in now.SizeClasses)
            Assert.True(sizeClass.RentedBuffers == 0 && sizeClass.QuarantinedBuffers == 0, sizeClass.ToString());
        Assert.Equal(rents, now.Rents);
        Assert.Equal(rejections, now.Rejections);
        Assert.InRange(now.RegisteredBytes, 0, now.LimitBytes);
        Assert.Equal(0, now.PendingRequests);
    }

    public async ValueTask DisposeAsync()
    {
        await _pool.DisposeAsync();
        RmaPoolStatistics end = _pool.GetStatistics();
        Assert.Equal(0, end.RegisteredBytes);
        Assert.Equal(end.Registrations, end.Deregistrations);
        Assert.Equal(0, _context.Live);
    }
}
