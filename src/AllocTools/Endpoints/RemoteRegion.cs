using AllocTools.Validation;

namespace AllocTools.Endpoints;

/// <summary>
/// A peer's memory, ready for reads and writes; created by <see cref="IRmaEndpoint.Import"/>. If keys are plain numbers,
/// it holds no resources. A mapped key is unmapped when the region is disposed and no operation uses it any more.
/// </summary>
/// <remarks>Safe to use from any thread.</remarks>
public sealed class RemoteRegion : IDisposable
{
    private readonly Action? _unmap;
    private int _uses = 1;
    private int _disposed;

    /// <summary>Creates a region; called by endpoints.</summary>
    /// <param name="peer">The owner of the memory.</param>
    /// <param name="memory">The description that the peer sent.</param>
    /// <param name="key">The key that operations pass: the integer key, or the result of mapping a raw key.</param>
    /// <param name="unmap">Unmaps the key; null if there is nothing to unmap. Must not throw.</param>
    internal RemoteRegion(RmaPeer peer, RemoteMemory memory, ulong key, Action? unmap)
    {
        Peer = peer;
        Memory = memory;
        Key = key;
        _unmap = unmap;
    }

    /// <summary>The owner of the memory.</summary>
    public RmaPeer Peer { get; }

    /// <summary>The description that the peer sent.</summary>
    public RemoteMemory Memory { get; }

    /// <summary>The key that operations pass.</summary>
    public ulong Key { get; }

    /// <summary>The length in bytes.</summary>
    public long Length => Memory.Length;

    /// <summary>Returns a part of the region.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <param name="length">The number of bytes; offset + length must not exceed the length of the region.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the region.</exception>
    public RemoteSlice Slice(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        return new RemoteSlice(this, offset, length);
    }

    /// <summary>Returns the rest of the region.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <exception cref="ArgumentOutOfRangeException">The offset is beyond the end.</exception>
    public RemoteSlice Slice(long offset) => Slice(offset, RangeCheck.Rest(offset, Length));

    /// <summary>Gets a part of the region, such as <c>remote[16..]</c> or <c>remote[..length]</c>.</summary>
    /// <param name="range">The range of bytes; its ends must be below 2 GiB.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the region.</exception>
    public RemoteSlice this[Range range]
    {
        get
        {
            (long offset, long length) = RangeCheck.Resolve(range, Length);
            return Slice(offset, length);
        }
    }

    /// <summary>Keeps a mapped key for one operation. Endpoints call this.</summary>
    /// <exception cref="ObjectDisposedException">The region is disposed.</exception>
    internal void AddUse()
    {
        if (!TryAddUse())
            throw Disposed("");
    }

    /// <returns>False if the region is disposed.</returns>
    internal bool TryAddUse()
    {
        if (IsDisposed)
            return false;
        if (_unmap is null)
            return true;
        int seen = Volatile.Read(ref _uses);
        while (seen != 0)
        {
            int before = Interlocked.CompareExchange(ref _uses, seen + 1, seen);
            if (before == seen)
                return true;
            seen = before;
        }
        return false;
    }

    /// <exception cref="ObjectDisposedException">The region is disposed.</exception>
    internal void ThrowIfDisposed()
    {
        if (IsDisposed)
            throw Disposed("");
    }

    /// <param name="where">The beginning of the error message, such as the operation.</param>
    internal ObjectDisposedException Disposed(string where) => new(
        nameof(RemoteRegion), $"{where}The RemoteRegion is disposed: {Describe()}. Import the peer's memory again, and dispose a region after the last operation with it.");

    internal bool IsDisposed => Volatile.Read(ref _disposed) != 0;

    private string Describe() => $"{InWords.Bytes(Length)} of {Peer}";

    /// <summary>
    /// Keeps a mapped key once more while another <see cref="AddUse"/> keeps it. The region may have been disposed
    /// meanwhile.
    /// </summary>
    internal void AddUseAgain()
    {
        if (_unmap is not null)
            Interlocked.Increment(ref _uses);
    }

    /// <summary>Undoes one <see cref="AddUse"/>.</summary>
    internal void EndUse()
    {
        if (_unmap is not null && Interlocked.Decrement(ref _uses) == 0)
            _unmap();
    }

    /// <summary>Returns the length, the owner and the granted access.</summary>
    public override string ToString() => $"{Describe()}, for {Memory.Access}{(IsDisposed ? ", disposed" : "")}";

    /// <summary>
    /// Like <see cref="Dispose"/>, but a mapped key is unmapped on the thread pool, because the caller may be the
    /// thread that makes progress.
    /// </summary>
    internal void DisposeLater()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0 && _unmap is not null)
            ThreadPool.UnsafeQueueUserWorkItem(static region => region.EndUse(), this, preferLocal: false);
    }

    /// <summary>Releases the region. A mapped key is unmapped once no operation uses it.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            EndUse();
    }
}
