using AllocTools.Regions;

namespace AllocTools.Testing;

/// <summary>A pool whose rents wait, fail or are counted, as a test requires.</summary>
internal sealed class HeldPool(IRmaMemoryPool pool) : IRmaMemoryPool
{
    private int _tries;

    public string Name => pool.Name;

    public IRmaContext Context { get; init; } = pool.Context;

    /// <summary>Called before each rent.</summary>
    public Action OnRent { get; set; } = static () => { };

    /// <summary>Whether <see cref="TryRent"/> finds no memory.</summary>
    public bool IsFull { get; set; }

    /// <summary>Gets the number of calls of <see cref="TryRent"/>.</summary>
    public int Tries => Volatile.Read(ref _tries);

    public RmaBuffer Rent(long length)
    {
        OnRent();
        return pool.Rent(length);
    }

    public bool TryRent(long length, out RmaBuffer buffer)
    {
        Interlocked.Increment(ref _tries);
        buffer = default;
        return !IsFull && pool.TryRent(length, out buffer);
    }

    public ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken = default) => pool.RentAsync(length, cancellationToken);

    public RmaBuffer Register(nint address, long length) => pool.Register(address, length);

    public RmaBuffer Register(Memory<byte> memory) => pool.Register(memory);

    public void Return(RmaBuffer buffer) => pool.Return(buffer);

    public Task WarmUpAsync(CancellationToken cancellationToken = default) => pool.WarmUpAsync(cancellationToken);

    public ValueTask<bool> DrainAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default) => pool.DrainAsync(timeout, cancellationToken);

    public RmaPoolStatistics GetStatistics() => pool.GetStatistics();

    public void Dispose() => pool.Dispose();

    public ValueTask DisposeAsync() => pool.DisposeAsync();
}
