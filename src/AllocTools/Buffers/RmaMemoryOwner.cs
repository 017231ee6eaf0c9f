using System.Buffers;

namespace AllocTools.Buffers;

/// <summary>
/// A rented buffer as an owner of <see cref="Memory{T}"/>, for code that only knows <see cref="IMemoryOwner{T}"/>.
/// Rented from <see cref="RmaMemoryPoolAdapter"/>; disposing it returns the buffer.
/// </summary>
/// <remarks>
/// <para>
/// Each rent creates a new object, so that every use after disposal is detected: its memory throws, like a returned
/// buffer, and disposing it again does nothing, even if the buffer has been rented again. Disposing it while its memory
/// is pinned throws, and changes nothing. An owner that is never disposed is a lease that is never returned
/// (<see cref="RmaMemoryPoolOptions.LeakDetection"/> reports it).
/// </para>
/// <para>Members are safe to call from any thread.</para>
/// </remarks>
public sealed class RmaMemoryOwner : MemoryManager<byte>
{
    private readonly IRentAccount? _account;
    private readonly ArrayBlocks? _arrays;
    private LeasedMemory _leased;
    private int _isDisposed;

    /// <param name="buffer">The buffer, whose whole length belongs to the owner; it is not longer than a Memory can be.</param>
    /// <param name="account">The account to notify when the buffer is returned.</param>
    /// <param name="asArray">Whether its memory is that of an array, if the pool's is
    /// (<see cref="Blocks.PinnedArrayAllocator"/>), for code that accepts only arrays.</param>
    internal RmaMemoryOwner(RmaBuffer buffer, IRentAccount? account = null, bool asArray = false)
    {
        _leased = new LeasedMemory(buffer);
        _account = account;
        _arrays = asArray ? buffer.Arrays : null;
        _arrays?.Enter(buffer.BlockIndex, this);
    }

    /// <summary>The buffer, with its keys: the same lease. Its length is that of <see cref="Memory"/>.</summary>
    public RmaBuffer Buffer => _leased.Slice.Buffer;

    /// <summary>The bytes: at least as many as requested, and the whole rented block.</summary>
    /// <exception cref="InvalidOperationException">It was disposed.</exception>
    public override Memory<byte> Memory
    {
        get
        {
            if (!Buffer.IsRented)
                Buffer.ThrowReturned();
            int length = (int)_leased.Slice.Length;
            return _arrays is null ? CreateMemory(length) : _arrays.MemoryOf(Buffer.BlockIndex, length);
        }
    }

    /// <summary>Returns the bytes.</summary>
    /// <exception cref="InvalidOperationException">It was disposed.</exception>
    public override Span<byte> GetSpan() => _leased.GetSpan();

    /// <summary>Keeps the buffer from being returned until the handle is disposed. The memory never moves, pinned or not.</summary>
    /// <param name="elementIndex">The offset of the handle's pointer, in bytes from the start.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is outside the memory.</exception>
    /// <exception cref="InvalidOperationException">It was disposed.</exception>
    public override MemoryHandle Pin(int elementIndex = 0) => _leased.Pin(elementIndex, this);

    /// <summary>Ends one pin; a <see cref="MemoryHandle"/> does so when it is disposed.</summary>
    /// <exception cref="InvalidOperationException">It is not pinned.</exception>
    public override void Unpin() => _leased.Unpin();

    /// <summary>Returns the buffer, as <see cref="RmaBuffer.Dispose"/> does. A second call does nothing.</summary>
    /// <exception cref="InvalidOperationException">The memory is pinned, and stays rented; or its <see cref="Buffer"/>
    /// was returned by other means, which is reported once.</exception>
    public void Dispose() => ((IDisposable)this).Dispose();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposing || Interlocked.Exchange(ref _isDisposed, 1) != 0)
            return;
        try
        {
            Buffer.Dispose();
        }
        catch when (Buffer.IsRented)
        {
            // It is unchanged: the caller may dispose it once the pins have ended.
            Volatile.Write(ref _isDisposed, 0);
            throw;
        }
        catch
        {
            // The buffer was returned by other means, so nothing more will follow; the account is notified once.
            OnEnded();
            throw;
        }
        OnEnded();
    }

    private void OnEnded()
    {
        _arrays?.Leave(Buffer.BlockIndex, this);
        _account?.OnReturned(Buffer.Length);
    }
}

/// <summary>Counts the owners that it has rented.</summary>
internal interface IRentAccount
{
    /// <summary>Called when an owner was disposed and its buffer returned. Any thread may call this.</summary>
    void OnReturned(long length);
}
