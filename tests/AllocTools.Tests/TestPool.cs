using AllocTools.Blocks;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Xunit;

namespace AllocTools.Tests;

/// <summary>A pool on HostProvider, together with its context.</summary>
internal sealed class TestPool : IAsyncDisposable
{
    public TestPool(Action<RmaMemoryPoolOptions>? configure = null, TimeProvider? time = null, ILoggerFactory? logging = null, IBlockAllocator? blocks = null)
        : this(PoolProvider.Open(), configure, time, logging, blocks)
    {
    }

    public TestPool(
        IRmaContext context, Action<RmaMemoryPoolOptions>? configure = null, TimeProvider? time = null, ILoggerFactory? logging = null, IBlockAllocator? blocks = null)
    {
        var options = new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero };
        configure?.Invoke(options);
        Context = context;
        Pool = new RmaMemoryPool<HostProvider>(context, options, "test", logging, blocks, time);
        context.Dispose();
    }

    public IRmaContext Context { get; }

    public RmaMemoryPool<HostProvider> Pool { get; }

    public RmaPoolStatistics Statistics => Pool.GetStatistics();

    public static Action<RmaMemoryPoolOptions> Classes(params long[] blockSizes) => options =>
    {
        foreach (long size in blockSizes)
            options.SizeClasses.Add(new SizeClassOptions { BlockSize = size });
    };

    /// <summary>Asserts the invariants that hold for a pool at any time.</summary>
    public void CheckBooks()
    {
        RmaPoolStatistics now = Statistics;
        Assert.Equal(now.RegisteredBytes, now.SizeClasses.Sum(c => c.RegisteredBytes));
        Assert.True(now.RegisteredBytes <= now.LimitBytes);
        Assert.All(now.SizeClasses, c => Assert.InRange(c.IdleBuffers, 0, c.TotalBuffers));
    }

    public ValueTask DisposeAsync() => Pool.DisposeAsync();
}
