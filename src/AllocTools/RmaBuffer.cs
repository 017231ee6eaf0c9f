using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using AllocTools.Buffers;
using AllocTools.Diagnostics;
using AllocTools.Pooling;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools;

/// <summary>A lease of registered memory. Disposing it returns the memory to its pool.</summary>
/// <remarks>
/// This is a small value: all copies stand for the same lease, and returning one of them ends the lease for all. Every
/// use of a lease that has ended throws, through any copy and from any thread, even if the memory has been rented
/// again. Only the use of a span that was taken before the return can't be detected; see
/// <see cref="RmaMemoryPoolOptions.PoisonOnReturn"/>.
/// </remarks>
public readonly unsafe struct RmaBuffer : IDisposable, IEquatable<RmaBuffer>
{
    private readonly Slab? _slab;

    // The state word of the block when it was rented: its generation, and no holds.
    private readonly ulong _lease;
    private readonly int _index;

    // The capacity minus the length. It fits into 32 bits: a direct region wastes less than that, and the blocks of a
    // class have at most 1 GiB.
    private readonly uint _slack;

    internal RmaBuffer(Slab slab, int index, ulong lease, long length)
    {
        _slab = slab;
        _index = index;
        _lease = lease;
        _slack = checked((uint)(slab.BlockSize - length));
    }

    internal RmaBuffer(Slab slab, int index, ulong lease, uint slack)
    {
        _slab = slab;
        _index = index;
        _lease = lease;
        _slack = slack;
    }

    /// <summary>The requested length, in bytes.</summary>
    public long Length => _slab is null ? 0 : _slab.BlockSize - _slack;

    /// <summary>The length of the whole block, in bytes. The caller may use only <see cref="Length"/> of them.</summary>
    public long Capacity => _slab?.BlockSize ?? 0;

    /// <summary>True until the lease ends.</summary>
    public bool IsRented => _slab is not null && _slab.IsRented(_index, _lease);

    /// <summary>The bytes. If the buffer <see cref="IsReadOnly"/>, they must only be read: a write to a mapping that the process may not write to ends the process.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned, or is longer than a span can be (2 GiB): use <see cref="GetSpan"/>.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(1024);
    /// int length = System.Text.Encoding.UTF8.GetBytes("hello", buffer.Span);
    /// await endpoint.SendAsync(buffer.Slice(0, length), peer, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    public Span<byte> Span
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            Slab slab = CheckRented();
            long length = slab.BlockSize - _slack;
            if (length > int.MaxValue)
                ThrowTooLong(length);
            return new Span<byte>((byte*)slab.AddressOf(_index), (int)length);
        }
    }

    /// <summary>
    /// The bytes for asynchronous calls. Each call creates a small object that keeps checking the lease. While it is pinned
    /// (<see cref="Memory{T}.Pin"/>) the buffer can't be returned. A socket operation that is pending when the buffer
    /// is returned fails when bytes arrive (on Unix with EFAULT, "Bad address").
    /// </summary>
    /// <exception cref="InvalidOperationException">The buffer was returned, or is longer than 2 GiB.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(1 &lt;&lt; 20);
    /// await using FileStream file = File.OpenRead("data.bin");
    /// int length = await file.ReadAsync(buffer.Memory, cancellationToken);
    /// await endpoint.WriteAsync(buffer.Slice(0, length), remote.Slice(0, length), cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    public Memory<byte> Memory => AsMemory();

    /// <summary>The address of the first byte. It is not valid beyond the lease.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public nint Address => CheckRented().AddressOf(_index);

    /// <summary>The local descriptor for native calls (fi_mr_desc); 0 if the provider has none.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public nint LocalDescriptor => CheckRented().Region.LocalDescriptor;

    /// <summary>The registration it is part of.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public MemoryRegion Region => CheckRented().Region;

    /// <summary>The context of its pool: endpoints accept only buffers of their own context.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public IRmaContext Context => CheckRented().Owner.Parts.Settings.Context;

    internal object? OwningPool => _slab?.Owner.Parts.Pool;

    internal bool IsDefault => _slab is null;

    /// <summary>
    /// Whether it is the caller's own memory that was registered as read-only, or that the process may only read. Such
    /// memory can be the source of sends and writes, and can be exposed for <see cref="RmaAccess.RemoteRead"/>. An
    /// operation or exposure that would write to it is refused before the transport sees it. <see cref="Span"/> and
    /// <see cref="Memory"/> can still be used for reading: if the process may not write to the memory, a write to them
    /// ends the process. The value does not change when the buffer is returned, and is false for the default value.
    /// </summary>
    public bool IsReadOnly => _slab is { IsWritable: false };

    /// <summary>
    /// The access that the memory allows: <see cref="RmaAccess.Local"/>, and what <see cref="Expose(RmaAccess)"/> may
    /// let peers do, according to the pool's option Access and the memory itself.
    /// </summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public RmaAccess Access
    {
        get
        {
            Slab slab = CheckRented();
            return slab.IsWritable ? slab.Owner.Parts.Settings.Access : slab.Owner.Parts.Settings.Access & ~RmaAccess.RemoteWrite;
        }
    }

    /// <summary>
    /// Whether a move of a pointer needs a check: the pointer is null, or the pool has
    /// <see cref="RmaMemoryPoolOptions.CheckPointers"/>.
    /// </summary>
    internal bool IsDefaultOrChecksPointers => _slab is not { ChecksPointers: false };

    /// <summary>Whether an operation, an exposure or a pin holds it so that <see cref="Return"/> would be refused, or it was returned.</summary>
    internal bool IsInUse => _slab is not null && _slab.IsInUse(_index, _lease);

    /// <summary>Whether its memory is pinned.</summary>
    internal bool IsPinned => _slab is not null && _slab.IsPinned(_index);

    /// <summary>Whether anything holds it, including an operation that timed out, or it was returned.</summary>
    internal bool IsHeld => _slab is not null && _slab.Lease(_index) != _lease;

    /// <summary>An address for ordering pointers; the memory there may belong to nobody any more.</summary>
    internal nint UncheckedAddress => _slab?.AddressOf(_index) ?? 0;

    /// <summary>Returns a part of the bytes.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <param name="length">Bytes, up to 2 GiB; offset + length stay within the buffer.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the buffer.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the part is longer than a span can be.</exception>
    public Span<byte> GetSpan(long offset, long length)
    {
        Slab slab = CheckRented();
        RangeCheck.ThrowIfOutside(offset, length, slab.BlockSize - _slack);
        if (length > int.MaxValue)
            ThrowTooLong(length);
        return new Span<byte>((byte*)slab.AddressOf(_index) + offset, (int)length);
    }

    /// <summary>Returns the bytes, like <see cref="Memory"/>.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned, or is longer than 2 GiB.</exception>
    public Memory<byte> AsMemory() => AsMemory(0, Length);

    /// <summary>Returns the rest of the bytes, like <see cref="Memory"/>.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <exception cref="ArgumentOutOfRangeException">The offset is beyond the end.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the rest is longer than 2 GiB.</exception>
    public Memory<byte> AsMemory(long offset) => AsMemory(offset, RangeCheck.Rest(offset, Length));

    /// <summary>Returns a part of the bytes, like <see cref="Memory"/>, but for buffers of any length.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <param name="length">Bytes, up to 2 GiB; offset + length stay within the buffer.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the buffer.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the part is longer than 2 GiB.</exception>
    public Memory<byte> AsMemory(long offset, long length)
    {
        CheckRented();
        RmaSlice part = Slice(offset, length);
        if (length > int.MaxValue)
            ThrowTooLong(length);
        return new RmaBufferMemoryManager(part).Memory;
    }

    /// <summary>Returns a part of the bytes, such as <c>buffer.AsMemory(16..)</c> or <c>buffer.AsMemory(..length)</c>.</summary>
    /// <param name="range">Which bytes; its ends are below 2 GiB.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the buffer.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the part is longer than 2 GiB.</exception>
    public Memory<byte> AsMemory(Range range)
    {
        (long offset, long length) = RangeCheck.Resolve(range, Length);
        return AsMemory(offset, length);
    }

    /// <summary>Returns a part of the buffer for an operation.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <param name="length">Bytes; offset + length stay within the buffer.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the buffer.</exception>
    public RmaSlice Slice(long offset, long length)
    {
        RangeCheck.ThrowIfOutside(offset, length, Length);
        return new RmaSlice(this, offset, length);
    }

    /// <summary>Returns the rest of the buffer for an operation.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <exception cref="ArgumentOutOfRangeException">The offset is beyond the end.</exception>
    public RmaSlice Slice(long offset) => Slice(offset, RangeCheck.Rest(offset, Length));

    /// <summary>Gets a part of the buffer for an operation, such as <c>buffer[16..]</c> or <c>buffer[..length]</c>.</summary>
    /// <param name="range">Which bytes; its ends are below 2 GiB.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part exceeds the buffer.</exception>
    public RmaSlice this[Range range]
    {
        get
        {
            (long offset, long length) = RangeCheck.Resolve(range, Length);
            return Slice(offset, length);
        }
    }

    /// <summary>Gives peers access to the whole buffer.</summary>
    /// <param name="access">What they may do: <see cref="RmaAccess.RemoteRead"/>, <see cref="RmaAccess.RemoteWrite"/> or both.</param>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the pool does not grant that access.</exception>
    /// <exception cref="RmaRegistrationException">The exposure's own registration was refused, or the buffer is read-only and <paramref name="access"/> would let peers write.</exception>
    /// <exception cref="RmaPoolExhaustedException">The exposure's own registration does not fit below the cap, not even
    /// after waiting up to 2 s for other threads that were registering or releasing memory.</exception>
    /// <example>
    /// <code>
    /// // The pool's option Access must include RemoteWrite.
    /// using RmaBuffer buffer = pool.Rent(1 &lt;&lt; 20);
    /// using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
    /// byte[] forThePeer = exposure.Remote.ToArray();
    /// // Until the exposure is disposed the peer may write.
    /// </code>
    /// </example>
    public RmaExposure Expose(RmaAccess access) => Expose(0, Length, access);

    /// <summary>Gives peers access to a part of the buffer.</summary>
    /// <param name="offset">Bytes from the start.</param>
    /// <param name="length">Bytes, 1 or more; offset + length stay within the buffer.</param>
    /// <param name="access">What they may do: <see cref="RmaAccess.RemoteRead"/>, <see cref="RmaAccess.RemoteWrite"/> or both.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is empty or exceeds the buffer.</exception>
    /// <exception cref="InvalidOperationException">The buffer was returned, or the pool does not grant that access.</exception>
    /// <exception cref="RmaRegistrationException">The exposure's own registration was refused, or the buffer is read-only and <paramref name="access"/> would let peers write.</exception>
    /// <exception cref="RmaPoolExhaustedException">The exposure's own registration does not fit below the cap, not even
    /// after waiting up to 2 s for other threads that were registering or releasing memory.</exception>
    public RmaExposure Expose(long offset, long length, RmaAccess access)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        RangeCheck.ThrowIfOutside(offset, length, Length);
        Slab slab = CheckRented();
        return slab.Owner.Parts.Exposer.Expose(slab, _index, _lease, offset, length, access);
    }

    /// <summary>
    /// Like <see cref="Expose(RmaAccess)"/>, but with a registration of its own even if the pool's option Isolation
    /// does not ask for one, provided that the transport enforces access.
    /// </summary>
    internal RmaExposure ExposeToOne(long offset, long length, RmaAccess access)
    {
        Slab slab = CheckRented();
        return slab.Owner.Parts.Exposer.Expose(slab, _index, _lease, offset, length, access, isToOne: true);
    }

    /// <summary>Returns a pointer to its start.</summary>
    /// <typeparam name="T">What it points to.</typeparam>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    public RmaPointer<T> AsPointer<T>()
        where T : unmanaged => new(this);

    /// <summary>Keeps the memory from being rented again while an operation runs. Endpoints call this.</summary>
    /// <exception cref="InvalidOperationException">The buffer was returned.</exception>
    internal RmaHold Hold()
    {
        if (_slab is null)
            LeaseErrors.ThrowDefault();
        _slab.Hold(_index, _lease);
        return new RmaHold(_slab, _index);
    }

    /// <summary>
    /// Ends the lease, and returns the memory to its pool. Conditions that the caller may not be able to avoid do not
    /// throw here, so that they don't hide an exception that is already propagating: if an operation or an exposure
    /// holds the buffer, the memory comes back when the last of them ends
    /// (<see cref="RmaPoolStatistics.DeferredReturns"/>); if the pool is disposed, the memory is released nevertheless
    /// (<see cref="RmaPoolStatistics.LateReturns"/>). Both are logged. <see cref="Return"/> throws for them.
    /// Disposing the default value does nothing.
    /// </summary>
    /// <exception cref="InvalidOperationException">
    /// It was already returned, or its memory is pinned (<see cref="Memory{T}.Pin"/>). Both are mistakes of the caller.
    /// </exception>
    /// <example>
    /// <code>
    /// using (RmaBuffer buffer = pool.Rent(4096))
    /// {
    ///     buffer.Span.Fill(1);
    /// } // here the memory goes back to its pool
    /// </code>
    /// </example>
    public void Dispose() => _slab?.Return(_index, _lease);

    /// <summary>Like <see cref="Dispose"/>, but every problem with the return is reported by an exception.</summary>
    /// <exception cref="InvalidOperationException">
    /// It is the default value, was already returned, its memory is pinned, or an operation or an exposure holds it;
    /// then it stays rented. A buffer that is held only by operations that timed out is returned nevertheless.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed. The memory is released nevertheless.</exception>
    public void Return()
    {
        if (_slab is null)
            LeaseErrors.ThrowDefault();
        _slab.ReturnStrictly(_index, _lease);
    }

    /// <summary>Gets the first byte's address; returns false if the buffer was returned.</summary>
    internal bool TryGetAddress(out nint address)
    {
        bool isRented = IsRented;
        address = isRented ? _slab!.AddressOf(_index) : 0;
        return isRented;
    }

    /// <summary>The blocks of its slab as memory of an array; null if the slab is not in an array.</summary>
    internal ArrayBlocks? Arrays => _slab?.Arrays;

    /// <summary>The number of its block in its slab.</summary>
    internal int BlockIndex => _index;

    /// <summary>Returns the same lease with all bytes of its block, or as many as a Memory can have, for callers who can use the whole block.</summary>
    internal RmaBuffer WholeBlock() => new(_slab!, _index, _lease, (uint)Math.Max(0, _slab!.BlockSize - int.MaxValue));

    /// <summary>Reports that a socket was about to use the memory after its return.</summary>
    internal void ReportUseBySocket()
    {
        PoolSettings pool = _slab!.Owner.Parts.Settings;
        Log.SocketUsesReturned(pool.Logger, Length, pool.Name);
    }

    /// <summary>Keeps the buffer from being returned while the caller has a pointer into it.</summary>
    internal void Pin() => _slab!.Pin(_index, _lease);

    /// <summary>Undoes <see cref="Pin"/>.</summary>
    internal void Unpin() => _slab!.ReleaseHold(_index, HoldKind.Pin);

    /// <summary>Returns the same lease, watched for leaks.</summary>
    internal RmaBuffer WatchedBy(LeaseTracker tracker) => new(_slab!.CopyWatchedBy(tracker), _index, _lease, _slack);

    /// <summary>Takes back a buffer that no caller has received.</summary>
    internal void GiveBack() => _slab?.GiveBack(_index, _lease);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Slab CheckRented()
    {
        if (_slab is null)
            LeaseErrors.ThrowDefault();
        if (!_slab.IsRented(_index, _lease))
            LeaseErrors.ThrowReturned(_slab);
        return _slab;
    }

    /// <summary>Throws, after a check has found that the lease has ended.</summary>
    [DoesNotReturn]
    internal void ThrowReturned() => LeaseErrors.ThrowReturned(_slab!);

    [DoesNotReturn]
    private static void ThrowTooLong(long length) => throw new InvalidOperationException(
        $"{InWords.Size(length)} are more than a span or memory can hold ({InWords.Number(int.MaxValue)}); take parts of it with GetSpan(offset, length).");

    /// <summary>Returns the length, the pool, and whether the buffer was returned.</summary>
    public override string ToString() => _slab is null ? "no buffer"
        : $"buffer of {InWords.Bytes(Length)} of pool '{_slab.Owner.Parts.Settings.Name}'{(IsRented ? "" : ", returned")}";

    /// <summary>Whether both are the same lease.</summary>
    /// <param name="other">Another buffer.</param>
    public bool Equals(RmaBuffer other) => _slab == other._slab && _index == other._index && _lease == other._lease;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is RmaBuffer other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_slab, _index, _lease);

    /// <summary>True when both are the same lease.</summary>
    public static bool operator ==(RmaBuffer left, RmaBuffer right) => left.Equals(right);

    /// <summary>False when both are the same lease.</summary>
    public static bool operator !=(RmaBuffer left, RmaBuffer right) => !left.Equals(right);
}
