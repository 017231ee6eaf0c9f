using AllocTools.Regions;

namespace AllocTools;

/// <summary>
/// A pool of memory that is registered for RMA. <see cref="Rent"/> and <see cref="Return"/> work as in
/// <c>ArrayPool</c>, but the memory is native, never moves, and carries the keys that an RMA operation needs.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public interface IRmaMemoryPool : IDisposable, IAsyncDisposable
{
    /// <summary>The pool's name: <c>default</c>, or the name under which it was added.</summary>
    string Name { get; }

    /// <summary>The opened provider under this pool.</summary>
    IRmaContext Context { get; }

    /// <summary>Rents registered memory of at least <paramref name="length"/> bytes. Dispose the buffer to return it.</summary>
    /// <remarks>
    /// The call does not wait for buffers that others have rented. At the cap it waits for at most 2 s if memory that
    /// other threads are currently registering or releasing may make room. If more memory must be registered, the call
    /// takes as long as the provider needs. If another thread is already registering memory for the same size class,
    /// the call waits for that thread, for at most <see cref="RmaMemoryPoolOptions.RentTimeout"/> if that is more than
    /// 0.
    /// </remarks>
    /// <param name="length">Bytes, from 1 to the pool's cap.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or exceeds the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room, or another thread's registration took too long.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(64 &lt;&lt; 10);
    /// buffer.Span.Clear();
    /// </code>
    /// </example>
    RmaBuffer Rent(long length);

    /// <summary>
    /// Like <see cref="Rent"/>, but returns false instead of throwing <see cref="RmaPoolExhaustedException"/>. It waits
    /// just as long.
    /// </summary>
    /// <param name="length">Bytes, from 1 to the pool's cap.</param>
    /// <param name="buffer">The buffer, or the default value.</param>
    /// <returns>True if a buffer was rented.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or exceeds the cap.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    bool TryRent(long length, out RmaBuffer buffer);

    /// <summary>
    /// Like <see cref="Rent"/>, but does not block the thread, and at the cap waits for its turn for at most
    /// <see cref="RmaMemoryPoolOptions.RentTimeout"/>.
    /// </summary>
    /// <remarks>
    /// An idle block is returned immediately. If memory must be registered, or other memory deregistered first, a
    /// thread of the pool does so, or the call awaits another thread's registration for the same size class;
    /// RentTimeout ends that wait, too, unless it is 0. Memory that arrives after the wait has ended stays in the pool.
    /// An invalid length and a pool that is already closed are reported by the call itself, all other errors by the task.
    /// </remarks>
    /// <param name="length">Bytes, from 1 to the pool's cap.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or exceeds the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">There was no room in time.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    /// <example>
    /// <code>
    /// // Waits if the cap leaves no room, instead of throwing an exception immediately.
    /// using RmaBuffer buffer = await pool.RentAsync(64 &lt;&lt; 10, cancellationToken);
    /// buffer.Span.Clear();
    /// </code>
    /// </example>
    ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken = default);

    /// <summary>
    /// Registers memory that the caller owns. Disposing the buffer deregisters it; the memory still belongs to the
    /// caller. Read-only memory can be the source of sends and writes, and can be read by peers; operations that would
    /// write to it are refused. The protection of the memory is determined once, by this call (on Linux; on other
    /// systems it is assumed to be writable).
    /// </summary>
    /// <remarks>At the cap the call waits like <see cref="Rent"/>, for at most 2 s.</remarks>
    /// <param name="address">The first byte. It must stay valid and in place until the buffer is disposed.</param>
    /// <param name="length">Bytes, 1 or more; they count against the cap.</param>
    /// <exception cref="ArgumentOutOfRangeException">The address is 0, or the length is 0 or less, or exceeds the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">Some of the memory is not mapped or can't be read, or the provider refused it. If it sets <see cref="RmaRegistrationException.IsStillRegistered"/>, the memory must stay in place permanently.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    RmaBuffer Register(nint address, long length);

    /// <summary>Pins and registers memory that the caller owns. Disposing the buffer deregisters and unpins it.</summary>
    /// <param name="memory">One byte or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The memory is empty or exceeds the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    RmaBuffer Register(Memory<byte> memory);

    /// <summary>Returns a buffer, like <see cref="RmaBuffer.Return"/>, but accepts only buffers of this pool.</summary>
    /// <param name="buffer">A buffer that was rented from or registered with this pool.</param>
    /// <exception cref="ArgumentException">The buffer belongs to another pool, or is the default value.</exception>
    /// <exception cref="InvalidOperationException">It was returned before, its memory is pinned, or an operation or an exposure holds it.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed. The memory is released nevertheless.</exception>
    /// <example>
    /// <code>
    /// RmaBuffer buffer = pool.Rent(1 &lt;&lt; 20);
    /// try
    /// {
    ///     await endpoint.WriteAsync(buffer, remote, cancellationToken: cancellationToken);
    /// }
    /// finally
    /// {
    ///     pool.Return(buffer); // like buffer.Dispose(), but throws if the buffer is still in use
    /// }
    /// </code>
    /// </example>
    void Return(RmaBuffer buffer);

    /// <summary>
    /// Registers each size class's initial blocks, on threads of the thread pool. Calling it again registers the blocks
    /// that are missing.
    /// </summary>
    /// <remarks>A pool that is already closed is reported by the call itself, all other errors by the task.</remarks>
    /// <param name="cancellationToken">Ends it between two slabs.</param>
    /// <exception cref="RmaPoolExhaustedException">The initial blocks do not fit below the cap.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    Task WarmUpAsync(CancellationToken cancellationToken = default);

    /// <summary>Stops renting, fails the waiters, and waits until all buffers are returned or the time is up.</summary>
    /// <remarks>
    /// The pool stays closed for rents even if the wait is cancelled. Buffers that were returned and are quarantined do
    /// not count as rented: they come back when the endpoint that holds them is closed. If the pool is already
    /// disposed, the call does not wait; disposing the pool ends the wait.
    /// </remarks>
    /// <param name="timeout">How long to wait; 0: don't wait; null or <see cref="Timeout.InfiniteTimeSpan"/>: without a limit.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>True if all buffers are returned; false if the time is up first.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is negative or longer than a timer supports.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled first.</exception>
    ValueTask<bool> DrainAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default);

    /// <summary>Returns a snapshot of the pool's statistics. Totals are exact if no thread rents or returns meanwhile.</summary>
    RmaPoolStatistics GetStatistics();
}
