using System.Diagnostics.CodeAnalysis;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using AllocTools.Pooling;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Caching;

/// <summary>
/// Registers memory that the caller has, as <see cref="IRmaMemoryPool.Register(nint, long)"/> does, and keeps the registration
/// when the buffer is disposed: the next request for the same bytes, or for some of them, is served without a call into the
/// transport. docs/registration-cache.md says how, and what it promises.
/// </summary>
/// <remarks>
/// Nothing in the process is patched to learn that memory goes, so whose memory it is decides. An array made by
/// <c>GC.AllocateArray(pinned: true)</c> is passed as <see cref="MemoryMarshal.CreateFromPinnedArray"/>: the cache does not keep it
/// alive, and deregisters it when the garbage collector finds that nobody has it. That form must not be used for an array that only a handle of the caller's
/// pins: it is pinned while it is leased, but its registration could stay at bytes that it no longer has. Any other array is pinned for as long as its registration
/// lives, and so is not collected. Memory of a <see cref="SafeBuffer"/> or a mapped file stays in place as long. Native memory
/// is its owner's, who calls <see cref="Invalidate(nint, long)"/> before it goes. Memory of a memory manager is pinned and registered
/// while it is leased, and no longer.
/// Registrations count against the pool's cap; idle ones give way where the pool needs room, or where the provider refuses a registration.
/// A cache is closed with its pool, and keeps what it has until then: dispose one that is used no more.
/// With <see cref="RmaIsolation.Shared"/>, the default of a pool, peers reach memory by its registration's key: by an old one until the registration goes, whatever buffers there are, and
/// beside the part that was exposed all of the bytes that were registered with it. <see cref="RmaIsolation.PerExposure"/> gives each exposure a registration of just its bytes.
/// All members are safe to call from any thread. A hit takes a lock for a moment, and allocates nothing where the bytes are those
/// of one of the two leases that were returned last, a small object or two else. A miss takes as long as the provider does.
/// </remarks>
/// <example>
/// <code>
/// using var cache = new AllocTools.Caching.RmaRegistrationCache(pool);
/// byte[] array = new byte[64 &lt;&lt; 10];
/// for (int i = 0; i &lt; 100; i++)
/// {
///     // Registered once.
///     using RmaBuffer buffer = cache.Register(array);
///     await endpoint.WriteAsync(buffer, remote.Slice(0, array.Length), cancellationToken: cancellationToken);
/// }
/// </code>
/// </example>
public sealed class RmaRegistrationCache : IDisposable
{
    private readonly CachedRegions _regions;
    private readonly CallersMemory _callers;

    /// <summary>Makes a cache. Nothing is registered before it is asked for.</summary>
    /// <param name="pool">The pool that the registrations count against, and whose endpoints take the buffers. An <see cref="RmaMemoryPool{TProvider}"/>.</param>
    /// <param name="options">Read once, here; null: the pool's <see cref="RmaMemoryPoolOptions.RegistrationCache"/>.</param>
    /// <exception cref="ArgumentNullException">The pool is null.</exception>
    /// <exception cref="ArgumentException">The pool is no <see cref="RmaMemoryPool{TProvider}"/>.</exception>
    /// <exception cref="OptionsValidationException">The options are invalid; each failure names the option and its value.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    public RmaRegistrationCache(IRmaMemoryPool pool, RmaRegistrationCacheOptions? options = null)
    {
        PoolEngine engine = PoolEngine.Of(pool);
        options = (options ?? engine.Settings.RegistrationCache).Copy();
        ValidateOptionsResult result = new RmaRegistrationCacheOptionsRanges().Validate(name: null, options);
        if (result.Failed)
            throw new OptionsValidationException(pool.Name, typeof(RmaRegistrationCacheOptions), result.Failures);
        engine.CheckOpen();
        Pool = pool;
        _callers = engine.Callers;
        _regions = engine.AddCache(options);
    }

    /// <summary>The pool that the registrations count against.</summary>
    public IRmaMemoryPool Pool { get; }

    /// <summary>A buffer that is the caller's memory. Disposing it ends the lease; the registration stays.</summary>
    /// <remarks>Where a part of memory that is registered is asked for, all of that is behind the key which an exposure gives to peers (<see cref="RmaIsolation.Shared"/>).</remarks>
    /// <param name="memory">One byte or more. Of <see cref="MemoryMarshal.CreateFromPinnedArray"/> only where the array was made by <c>GC.AllocateArray(pinned: true)</c>.</param>
    /// <exception cref="ArgumentOutOfRangeException">The memory is empty or over the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The cache or the pool is disposed, or the pool is draining.</exception>
    public RmaBuffer Register(Memory<byte> memory) => Register(memory, isReadOnly: false);

    /// <summary>A buffer that is the caller's memory, and that nothing writes to through it: it can be sent, written from, and exposed for reading.</summary>
    /// <remarks>
    /// It is registered as memory that is only read, unless a registration that is there covers it: one for memory that is written serves it, too, and its key would let a peer
    /// write (<see cref="RmaIsolation.Shared"/>). A later request for memory that is written replaces one that is only read.
    /// </remarks>
    /// <param name="memory">One byte or more.</param>
    /// <inheritdoc cref="Register(Memory{byte})" path="/exception"/>
    public RmaBuffer RegisterReadOnly(ReadOnlyMemory<byte> memory) => Register(memory, isReadOnly: true);

    /// <summary>A buffer that is native memory of the caller's. Its owner calls <see cref="Invalidate(nint, long)"/> before the memory goes, or before its protection changes (mprotect).</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes, 1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The address is 0 or the length is 0 or less, or over the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">Some of the memory is not mapped or may not be read, or the provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The cache or the pool is disposed, or the pool is draining.</exception>
    public RmaBuffer Register(nint address, long length)
    {
        if (address == 0)
            throw new ArgumentOutOfRangeException(nameof(address), "The address must not be 0.");
        _callers.CheckLength(length, nameof(length));
        return _regions.Register(new CallersRange(address, length, null, CallersRangeKind.Native, IsReadOnly: false));
    }

    /// <summary>
    /// A buffer that is a view of a mapped file, as long as the view is. The mapping stays in place as long as it is registered, also where
    /// the view is disposed meanwhile: then the registration goes with its last lease; one that was idle, at the next registration or trimming, or by <see cref="Invalidate(MemoryMappedViewAccessor)"/>.
    /// </summary>
    /// <remarks>
    /// Call <see cref="Invalidate(MemoryMappedViewAccessor)"/> before the file becomes shorter. Each request asks the system whether the view's last page is there still.
    /// </remarks>
    /// <param name="view">The view. Where it may only be read, nothing writes to the buffer.</param>
    /// <exception cref="ArgumentNullException">The view is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The view is over the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The file has become shorter than the view, or the provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The view is disposed, or the cache or the pool is, or the pool is draining.</exception>
    public RmaBuffer Register(MemoryMappedViewAccessor view)
    {
        ArgumentNullException.ThrowIfNull(view);
        // Its handle does not tell, as long as a registration refers to it.
        ObjectDisposedException.ThrowIf(!view.CanRead && !view.CanWrite, view);
        return Register(view.SafeMemoryMappedViewHandle, view, view.PointerOffset, view.Capacity, nameof(view), view.CanWrite);
    }

    /// <summary>
    /// A buffer that is a part of memory which a <see cref="SafeBuffer"/> has. The memory stays in place as long as it is registered, also where the
    /// buffer is disposed meanwhile, which is not reported to the cache: call <see cref="Invalidate(nint, long)"/> for its memory to go.
    /// </summary>
    /// <param name="buffer">What has the memory.</param>
    /// <param name="offset">Bytes from its start.</param>
    /// <param name="length">Bytes, 1 or more; offset + length stay within the buffer.</param>
    /// <exception cref="ArgumentNullException">The buffer is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The part is empty, reaches out of the buffer, or is over the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">Some of the memory is not mapped or may not be read, or the provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The buffer is disposed, or the cache or the pool is, or the pool is draining.</exception>
    public RmaBuffer Register(SafeBuffer buffer, long offset, long length)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ObjectDisposedException.ThrowIf(buffer.IsClosed, buffer);
        RangeCheck.ThrowIfOutside(offset, length, (long)Math.Min(buffer.ByteLength, long.MaxValue));
        return Register(buffer, buffer, offset, length, nameof(length), mayWrite: true);
    }

    /// <summary>
    /// The owner of native memory says that it goes, before it does: no later request finds what has a byte of it, and what nobody has is
    /// deregistered when this returns.
    /// </summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes; 0 for none.</param>
    /// <returns>
    /// True: none of the range is registered by this cache any more, the memory may go. False: buffers are out; each registration goes with its
    /// last buffer, and the memory must stay until then. <see cref="InvalidateAsync(nint, long, CancellationToken)"/> waits for that.
    /// </returns>
    /// <exception cref="ArgumentOutOfRangeException">The length is less than 0.</exception>
    /// <exception cref="RmaRegistrationException">Some of it could not be deregistered (<see cref="RmaRegistrationException.IsStillRegistered"/>): the memory must stay in place permanently.</exception>
    public bool Invalidate(nint address, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (length == 0)
            return true;
        if (_regions.Invalidate((ulong)address, CallersRange.EndOf(address, length), awaitsUse: false) is not { } gone)
            return false;
        // What another thread is deregistering at this moment.
        gone.GetAwaiter().GetResult();
        return true;
    }

    /// <summary>As <see cref="Invalidate(nint, long)"/>, and waits until buffers that are out are disposed and all of the range is deregistered.</summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes; 0 for none.</param>
    /// <param name="cancellationToken">Ends the wait. The memory is no longer found all the same, and must stay.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is less than 0.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="RmaRegistrationException">Some of it could not be deregistered (<see cref="RmaRegistrationException.IsStillRegistered"/>): the memory must stay in place permanently.</exception>
    public Task InvalidateAsync(nint address, long length, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (length == 0)
            return Task.CompletedTask;
        Task gone = _regions.Invalidate((ulong)address, CallersRange.EndOf(address, length), awaitsUse: true)!;
        // Who has cancelled the wait does not see how it ends.
        _ = gone.ContinueWith(static t => t.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        return gone.WaitAsync(cancellationToken);
    }

    /// <summary>As <see cref="Invalidate(nint, long)"/>, for an array or what else is behind the memory: it is unpinned with its last buffer.</summary>
    /// <param name="memory">The memory; empty for none.</param>
    /// <inheritdoc cref="Invalidate(nint, long)" path="/returns"/>
    /// <exception cref="RmaRegistrationException">Some of it could not be deregistered: the memory stays pinned permanently.</exception>
    public unsafe bool Invalidate(ReadOnlyMemory<byte> memory)
    {
        fixed (byte* start = memory.Span)
            return Invalidate((nint)start, memory.Length);
    }

    /// <summary>As <see cref="Invalidate(nint, long)"/>, for a view of a mapped file, before or after it is disposed: its mapping goes with its last buffer.</summary>
    /// <param name="view">The view.</param>
    /// <inheritdoc cref="Invalidate(nint, long)" path="/returns"/>
    /// <exception cref="ArgumentNullException">The view is null.</exception>
    /// <exception cref="RmaRegistrationException">Some of it could not be deregistered: it stays mapped permanently.</exception>
    public bool Invalidate(MemoryMappedViewAccessor view)
    {
        ArgumentNullException.ThrowIfNull(view);
        SafeBuffer mapping = view.SafeMemoryMappedViewHandle;
        // One that is closed has no memory any more, and so had no registration.
        return mapping.IsClosed || Invalidate(mapping.DangerousGetHandle() + (nint)view.PointerOffset, view.Capacity);
    }

    /// <summary>A snapshot of the cache's statistics.</summary>
    public RmaRegistrationCacheStatistics GetStatistics() => _regions.GetCacheStatistics();

    /// <summary>Deregisters what is idle. What is leased goes with its last buffer. A second call does nothing.</summary>
    public void Dispose() => _regions.Close();

    private unsafe RmaBuffer Register(ReadOnlyMemory<byte> memory, bool isReadOnly)
    {
        if (memory.IsEmpty)
            throw new ArgumentOutOfRangeException(nameof(memory), "The memory is empty; it must have at least one byte.");
        _callers.CheckLength(memory.Length, nameof(memory));
        // Until it is registered, and pinned with that, or found to be.
        fixed (byte* start = memory.Span)
            return _regions.Register(CallersRange.Of((nint)start, memory, isReadOnly));
    }

    private RmaBuffer Register(SafeBuffer buffer, object owner, long offset, long length, string lengthName, bool mayWrite)
    {
        _callers.CheckLength(length, lengthName);
        bool isAdded = false;
        try
        {
            // It may be disposed by another thread at this moment.
            buffer.DangerousAddRef(ref isAdded);
            return _regions.Register(new CallersRange(buffer.DangerousGetHandle() + (nint)offset, length, owner, owner == buffer ? CallersRangeKind.Buffer : CallersRangeKind.View, IsReadOnly: !mayWrite));
        }
        finally
        {
            if (isAdded)
                buffer.DangerousRelease();
        }
    }
}
