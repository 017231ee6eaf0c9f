using System.Diagnostics.CodeAnalysis;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using AllocTools.Pooling;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Caching;

/// <summary>
/// Registers memory of the caller, like <see cref="IRmaMemoryPool.Register(nint, long)"/>, and keeps the registration
/// when the buffer is disposed: the next request for the same bytes, or for some of them, is served without a call into the
/// transport. docs/registration-cache.md describes how it works and what it guarantees.
/// </summary>
/// <remarks>
/// Nothing in the process is patched to find out when memory is freed, so the owner of the memory determines how it is
/// handled. Pass an array made by <c>GC.AllocateArray(pinned: true)</c> as
/// <see cref="MemoryMarshal.CreateFromPinnedArray"/>: the cache does not keep it alive, and deregisters it when the
/// garbage collector finds that nothing refers to it. That form must not be used for an array that only a handle of the
/// caller's pins: it is pinned while it is leased, but its registration could stay at bytes that it no longer has. Any
/// other array is pinned for as long as its registration lives, and so is not collected. Memory of a
/// <see cref="SafeBuffer"/> or a mapped file stays in place for as long. Native memory belongs to its owner, who calls
/// <see cref="Invalidate(nint, long)"/> before freeing it. Memory of a memory manager is pinned and registered only
/// while it is leased.
/// Registrations count against the pool's cap; idle ones give way when the pool needs room, or when the provider
/// refuses a registration.
/// A cache is closed with its pool, and keeps its registrations until then: dispose a cache that is no longer used.
/// With <see cref="RmaIsolation.Shared"/>, the default of a pool, peers reach memory by the key of its registration.
/// That key covers all of the registered bytes, not only the part that was exposed, and stays valid until the
/// registration ends, whatever buffers there are. <see cref="RmaIsolation.PerExposure"/> gives each exposure a
/// registration of just its bytes.
/// All members are safe to call from any thread. A hit takes a lock for a moment. It allocates nothing if the bytes are
/// those of one of the two leases that were returned last, and a small object or two otherwise. A miss takes as long as
/// the provider does.
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

    /// <summary>Creates a cache. Nothing is registered before the first request.</summary>
    /// <param name="pool">The pool against whose cap the registrations count, and whose endpoints accept the buffers;
    /// it must be an <see cref="RmaMemoryPool{TProvider}"/>.</param>
    /// <param name="options">Read once, here; null: the pool's <see cref="RmaMemoryPoolOptions.RegistrationCache"/>.</param>
    /// <exception cref="ArgumentNullException">The pool is null.</exception>
    /// <exception cref="ArgumentException">The pool is not an <see cref="RmaMemoryPool{TProvider}"/>.</exception>
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

    /// <summary>The pool against whose cap the registrations count.</summary>
    public IRmaMemoryPool Pool { get; }

    /// <summary>Returns a buffer for the caller's memory. Disposing the buffer ends the lease; the registration stays.</summary>
    /// <remarks>
    /// If the memory is a part of a larger registration, the key that an exposure gives to peers covers the whole
    /// registration (<see cref="RmaIsolation.Shared"/>).
    /// </remarks>
    /// <param name="memory">One byte or more. Memory of <see cref="MemoryMarshal.CreateFromPinnedArray"/> only if the array was made by <c>GC.AllocateArray(pinned: true)</c>.</param>
    /// <exception cref="ArgumentOutOfRangeException">The memory is empty, or exceeds the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The cache or the pool is disposed, or the pool is draining.</exception>
    public RmaBuffer Register(Memory<byte> memory) => Register(memory, isReadOnly: false);

    /// <summary>Returns a read-only buffer for the caller's memory: it can be the source of sends and writes, and can be exposed for reading.</summary>
    /// <remarks>
    /// It is registered as read-only, unless an existing registration covers it: a writable one is used, too, and its
    /// key would let a peer write (<see cref="RmaIsolation.Shared"/>). A later request for writable memory replaces a
    /// read-only registration.
    /// </remarks>
    /// <param name="memory">One byte or more.</param>
    /// <inheritdoc cref="Register(Memory{byte})" path="/exception"/>
    public RmaBuffer RegisterReadOnly(ReadOnlyMemory<byte> memory) => Register(memory, isReadOnly: true);

    /// <summary>
    /// Returns a buffer for native memory of the caller. Its owner must call <see cref="Invalidate(nint, long)"/>
    /// before the memory is freed, or before its protection changes (mprotect).
    /// </summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes, 1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The address is 0 or the length is 0 or less, or exceeds the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">Some of the memory is not mapped or can't be read, or the provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The cache or the pool is disposed, or the pool is draining.</exception>
    public RmaBuffer Register(nint address, long length)
    {
        if (address == 0)
            throw new ArgumentOutOfRangeException(nameof(address), "The address must not be 0.");
        _callers.CheckLength(length, nameof(length));
        return _regions.Register(new CallersRange(address, length, null, CallersRangeKind.Native, IsReadOnly: false));
    }

    /// <summary>
    /// Returns a buffer for a whole view of a mapped file. The mapping stays in place while it is registered, even if
    /// the view is disposed meanwhile: then the registration ends with its last lease, and an idle one ends at the next
    /// registration or trimming, or by <see cref="Invalidate(MemoryMappedViewAccessor)"/>.
    /// </summary>
    /// <remarks>
    /// Call <see cref="Invalidate(MemoryMappedViewAccessor)"/> before the file becomes shorter. Each request checks whether the view's last page still exists.
    /// </remarks>
    /// <param name="view">The view. If it is read-only, so is the buffer.</param>
    /// <exception cref="ArgumentNullException">The view is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The view exceeds the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The file has become shorter than the view, or the provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The view is disposed, or the cache or the pool is, or the pool is draining.</exception>
    public RmaBuffer Register(MemoryMappedViewAccessor view)
    {
        ArgumentNullException.ThrowIfNull(view);
        // The view's handle does not show that while a registration refers to it.
        ObjectDisposedException.ThrowIf(!view.CanRead && !view.CanWrite, view);
        return Register(view.SafeMemoryMappedViewHandle, view, view.PointerOffset, view.Capacity, nameof(view), view.CanWrite);
    }

    /// <summary>
    /// Returns a buffer for a part of the memory of a <see cref="SafeBuffer"/>. The memory stays in place while it is
    /// registered, even if the safe buffer is disposed meanwhile, which the cache does not notice: call
    /// <see cref="Invalidate(nint, long)"/> to release its memory.
    /// </summary>
    /// <param name="buffer">The owner of the memory.</param>
    /// <param name="offset">Bytes from its start.</param>
    /// <param name="length">Bytes, 1 or more; offset + length stay within the buffer.</param>
    /// <exception cref="ArgumentNullException">The buffer is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The part is empty, or exceeds the buffer or the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool's cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">Some of the memory is not mapped or can't be read, or the provider refused.</exception>
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
    /// Must be called by the owner of native memory before it frees the memory: later requests don't find registrations
    /// that contain a byte of it, and idle ones are deregistered when this call returns.
    /// </summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes; 0 for none.</param>
    /// <returns>
    /// True: this cache has no registration in the range any more, so the memory may be freed. False: buffers are still
    /// rented; each registration ends with its last buffer, and the memory must stay in place until then.
    /// <see cref="InvalidateAsync(nint, long, CancellationToken)"/> waits for that.
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
        // This waits for registrations that another thread is currently undoing.
        gone.GetAwaiter().GetResult();
        return true;
    }

    /// <summary>
    /// Like <see cref="Invalidate(nint, long)"/>, and waits until all rented buffers are disposed and the whole range
    /// is deregistered.
    /// </summary>
    /// <param name="address">The first byte.</param>
    /// <param name="length">Bytes; 0 for none.</param>
    /// <param name="cancellationToken">Ends the wait. Requests no longer find the memory nevertheless, and it must stay in place.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is less than 0.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="RmaRegistrationException">Some of it could not be deregistered (<see cref="RmaRegistrationException.IsStillRegistered"/>): the memory must stay in place permanently.</exception>
    public Task InvalidateAsync(nint address, long length, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (length == 0)
            return Task.CompletedTask;
        Task gone = _regions.Invalidate((ulong)address, CallersRange.EndOf(address, length), awaitsUse: true)!;
        // A caller that has cancelled the wait does not see its result.
        _ = gone.ContinueWith(static t => t.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        return gone.WaitAsync(cancellationToken);
    }

    /// <summary>
    /// Like <see cref="Invalidate(nint, long)"/>, for an array or another object behind the memory: it is unpinned with
    /// its last buffer.
    /// </summary>
    /// <param name="memory">The memory; empty for none.</param>
    /// <inheritdoc cref="Invalidate(nint, long)" path="/returns"/>
    /// <exception cref="RmaRegistrationException">Some of it could not be deregistered: the memory stays pinned permanently.</exception>
    public unsafe bool Invalidate(ReadOnlyMemory<byte> memory)
    {
        fixed (byte* start = memory.Span)
            return Invalidate((nint)start, memory.Length);
    }

    /// <summary>
    /// Like <see cref="Invalidate(nint, long)"/>, for a view of a mapped file, before or after it is disposed: its
    /// mapping ends with its last buffer.
    /// </summary>
    /// <param name="view">The view.</param>
    /// <inheritdoc cref="Invalidate(nint, long)" path="/returns"/>
    /// <exception cref="ArgumentNullException">The view is null.</exception>
    /// <exception cref="RmaRegistrationException">Some of it could not be deregistered: it stays mapped permanently.</exception>
    public bool Invalidate(MemoryMappedViewAccessor view)
    {
        ArgumentNullException.ThrowIfNull(view);
        SafeBuffer mapping = view.SafeMemoryMappedViewHandle;
        // A closed view has no memory any more, so it had no registration.
        return mapping.IsClosed || Invalidate(mapping.DangerousGetHandle() + (nint)view.PointerOffset, view.Capacity);
    }

    /// <summary>Returns a snapshot of the cache's statistics.</summary>
    public RmaRegistrationCacheStatistics GetStatistics() => _regions.GetCacheStatistics();

    /// <summary>Deregisters idle memory. Leased memory is deregistered with its last buffer. A second call does nothing.</summary>
    public void Dispose() => _regions.Close();

    private unsafe RmaBuffer Register(ReadOnlyMemory<byte> memory, bool isReadOnly)
    {
        if (memory.IsEmpty)
            throw new ArgumentOutOfRangeException(nameof(memory), "The memory is empty; it must have at least one byte.");
        _callers.CheckLength(memory.Length, nameof(memory));
        // Fixed until it is registered, which pins it, or found to be registered already.
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
