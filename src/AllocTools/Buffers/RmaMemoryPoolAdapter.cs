using System.Buffers;
using AllocTools.Diagnostics;
using AllocTools.Validation;

namespace AllocTools.Buffers;

/// <summary>
/// A pool as the <see cref="MemoryPool{T}"/> that other code expects (pipes, parsers, serializers), so that it fills
/// registered memory. It is created by <see cref="RmaMemoryPoolExtensions.AsMemoryPool"/>.
/// </summary>
/// <remarks>
/// A rent costs a rent of the pool and one small object, the owner. As with <c>ArrayPool</c>, its memory is the whole
/// block: at least the requested size. Disposing the adapter does not affect the pool or rented memory.
/// All members are safe to call from any thread.
/// </remarks>
public sealed class RmaMemoryPoolAdapter : MemoryPool<byte>
{
    /// <summary>The minimum size of a rent without a size, like that of <c>MemoryPool&lt;byte&gt;.Shared</c>.</summary>
    private const int DefaultSize = 4096;

    private readonly int _maxBufferSize;
    private readonly IMeteredPool? _own;
    private volatile bool _isDisposed;

    internal RmaMemoryPoolAdapter(IRmaMemoryPool pool, int maxBufferSize)
    {
        Pool = pool;
        _own = pool as IMeteredPool;
        _maxBufferSize = maxBufferSize;
    }

    /// <summary>The pool that the memory comes from.</summary>
    public IRmaMemoryPool Pool { get; }

    /// <summary>
    /// The longest possible rent, in bytes: the limit that was set when the adapter was created, or the pool's current
    /// cap if that is less.
    /// </summary>
    public override int MaxBufferSize => (int)Math.Min(_maxBufferSize, _own?.LimitBytes ?? Pool.GetStatistics().LimitBytes);

    /// <summary>Rents memory of at least the given size.</summary>
    /// <param name="minBufferSize">Bytes, from 0 to <see cref="MaxBufferSize"/>; -1 for 4 KiB or more. For 0 the smallest block is rented.</param>
    /// <returns>The owner: dispose it to return the memory.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The size is less than -1 or more than <see cref="MaxBufferSize"/>.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room, or another thread's registration took too long.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="ObjectDisposedException">The adapter is disposed, or the pool is disposed or draining.</exception>
    public override RmaMemoryOwner Rent(int minBufferSize = -1)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        int most = MaxBufferSize;
        if (minBufferSize < -1 || minBufferSize > most)
            throw new ArgumentOutOfRangeException(nameof(minBufferSize), minBufferSize, $"The size must be between 0 and {InWords.Number(most)} bytes, or -1 for any.");
        long length = minBufferSize switch
        {
            -1 => Math.Min(DefaultSize, most),
            0 => 1,
            _ => minBufferSize,
        };
        return new RmaMemoryOwner(Pool.Rent(length).WholeBlock());
    }

    /// <summary>Refuses further rents. The pool stays open, and owners that were rented before stay valid. A second call does nothing.</summary>
    /// <param name="disposing">Not used.</param>
    protected override void Dispose(bool disposing) => _isDisposed = true;
}
