using System.Collections.Concurrent;
using AllocTools.HostMemory;

namespace AllocTools.Tests.Model.Concurrent;

/// <summary>A pool with one class, at its cap: some blocks are free and the others are rented.</summary>
internal sealed class FullPool : IDisposable
{
    /// <summary>The number of blocks in the pool.</summary>
    public const int Blocks = 256;

    private const long Block = 4096;

    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly ConcurrentQueue<RmaBuffer> _toReturn = new();
    private readonly ConcurrentBag<RmaBuffer> _kept = [];

    public FullPool(int free)
    {
        using var context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        var options = new RmaMemoryPoolOptions { MaxRegisteredBytes = Blocks * Block, MaxSlabBytes = Blocks * Block, TrimInterval = Timeout.InfiniteTimeSpan };
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = Block });
        _pool = new RmaMemoryPool<HostProvider>(context, options);
        for (int i = 0; i < Blocks; i++)
            _toReturn.Enqueue(_pool.Rent(Block));
        for (int i = 0; i < free; i++)
            Return();
    }

    public FullPoolCounts Counts
    {
        get
        {
            RmaPoolStatistics now = _pool.GetStatistics();
            return new FullPoolCounts { Free = (int)now.SizeClasses[0].IdleBuffers, Rents = now.Rents - Blocks, Rejections = now.Rejections };
        }
    }

    /// <summary>Rents a block and keeps it.</summary>
    public void Rent()
    {
        if (_pool.TryRent(Block, out RmaBuffer buffer))
            _kept.Add(buffer);
    }

    /// <summary>Returns one of the blocks that were rented from the start: there are more than any run returns.</summary>
    public void Return()
    {
        if (!_toReturn.TryDequeue(out RmaBuffer buffer))
            throw new InvalidOperationException("A run returned more than there is.");
        buffer.Dispose();
    }

    public void Dispose()
    {
        foreach (RmaBuffer buffer in _toReturn.Concat(_kept))
            buffer.Dispose();
        _pool.Dispose();
    }
}
