using AllocTools.Regions;

namespace AllocTools;

/// <summary>
/// A pool of memory that is registered for RMA. <see cref="Rent"/> and <see cref="Return"/> work as in
/// <c>ArrayPool</c>, but the memory is native, never moves, and carries the keys that an RMA operation needs.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public interface IRmaMemoryPool : IDisposable, IAsyncDisposable
{
    /// <summary>The pool's name: <c>default</c>, or the name it was added under.</summary>
    string Name { get; }

    /// <summary>The opened provider under this pool.</summary>
    IRmaContext Context { get; }

    /// <summary>Rents registered memory of at least <paramref name="length"/> bytes. Dispose the buffer to return it.</summary>
    /// <remarks>
    /// It does not wait for buffers that others have rented. At the cap it does wait, for 2 s at the most, where memory that
    /// other threads are registering or giving back at this moment may make room. Where more memory must be registered it
    /// takes as long as the provider does. Where another thread is already registering it for the same size class it waits for
    /// that, for <see cref="RmaMemoryPoolOptions.RentTimeout"/> at the most where that is more than 0.
    /// </remarks>
    /// <param name="length">Bytes, from 1 to the pool's cap.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or over the cap.</exception>
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

    /// <summary>As <see cref="Rent"/>, but says false where that throws <see cref="RmaPoolExhaustedException"/>. It waits as long as that.</summary>
    /// <param name="length">Bytes, from 1 to the pool's cap.</param>
    /// <param name="buffer">The buffer, or the default value.</param>
    /// <returns>True when a buffer was rented.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or over the cap.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    bool TryRent(long length, out RmaBuffer buffer);

    /// <summary>As <see cref="Rent"/>, but blocks nobody, and waits its turn at the cap, for <see cref="RmaMemoryPoolOptions.RentTimeout"/> at the most.</summary>
    /// <remarks>
    /// An idle block is there at once. Where memory must be registered, or given back first, a thread of the pool's does it, or
    /// another thread's registration for the same size class is awaited; RentTimeout ends that wait, too, unless it is 0. What
    /// comes after the wait was ended stays with the pool.
    /// A bad length and a pool that was closed before are thrown by the call itself, everything else by the task.
    /// </remarks>
    /// <param name="length">Bytes, from 1 to the pool's cap.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is 0 or less, or over the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">There was no room in time.</exception>
    /// <exception cref="RmaRegistrationException">More memory was needed and could not be registered.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    /// <example>
    /// <code>
    /// // Waits where the cap leaves no room, in place of an exception at once.
    /// using RmaBuffer buffer = await pool.RentAsync(64 &lt;&lt; 10, cancellationToken);
    /// buffer.Span.Clear();
    /// </code>
    /// </example>
    ValueTask<RmaBuffer> RentAsync(long length, CancellationToken cancellationToken = default);

    /// <summary>
    /// Registers memory that the caller owns. Disposing the buffer deregisters it; the memory stays the caller's. Memory that
    /// may only be read can be sent and written from, and read by peers; what would write to it is refused. What the memory
    /// allows is looked up here, once (on Linux; elsewhere it is taken for writable).
    /// </summary>
    /// <remarks>At the cap it waits as <see cref="Rent"/> does, for 2 s at the most.</remarks>
    /// <param name="address">The first byte. It must stay valid and in place until the buffer is disposed.</param>
    /// <param name="length">Bytes, 1 or more; they count against the cap.</param>
    /// <exception cref="ArgumentOutOfRangeException">The address is 0 or the length is 0 or less, or over the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">Some of the memory is not mapped or may not be read, or the provider refused. Where it says <see cref="RmaRegistrationException.IsStillRegistered"/>, the memory must stay in place permanently.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    RmaBuffer Register(nint address, long length);

    /// <summary>Pins and registers memory that the caller owns. Disposing the buffer deregisters and unpins it.</summary>
    /// <param name="memory">One byte or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The memory is empty or over the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    RmaBuffer Register(Memory<byte> memory);

    /// <summary>Returns a buffer, as <see cref="RmaBuffer.Return"/> does; only a buffer of this pool is taken.</summary>
    /// <param name="buffer">A buffer that was rented from or registered with this pool.</param>
    /// <exception cref="ArgumentException">The buffer is another pool's, or the default value.</exception>
    /// <exception cref="InvalidOperationException">It was returned before, its memory is pinned, or an operation or an exposure holds it.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed. The memory is given back all the same.</exception>
    /// <example>
    /// <code>
    /// RmaBuffer buffer = pool.Rent(1 &lt;&lt; 20);
    /// try
    /// {
    ///     await endpoint.WriteAsync(buffer, remote, cancellationToken: cancellationToken);
    /// }
    /// finally
    /// {
    ///     pool.Return(buffer); // as buffer.Dispose(), and says where the buffer is still in use
    /// }
    /// </code>
    /// </example>
    void Return(RmaBuffer buffer);

    /// <summary>Registers each size class's initial blocks, on threads of the thread pool. Calling it again registers what is missing.</summary>
    /// <remarks>A pool that was closed before is thrown by the call itself, everything else by the task.</remarks>
    /// <param name="cancellationToken">Ends it between two slabs.</param>
    /// <exception cref="RmaPoolExhaustedException">The initial blocks do not fit below the cap.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    Task WarmUpAsync(CancellationToken cancellationToken = default);

    /// <summary>Stops renting, fails the waiters, and waits until nothing is out or the time is up.</summary>
    /// <remarks>
    /// The pool stays closed for rents also where the wait is cancelled. What was returned and is quarantined is not out: it comes back when the endpoint that holds it is closed. On a pool
    /// that is disposed it waits for nothing, and disposing the pool meanwhile ends the wait.
    /// </remarks>
    /// <param name="timeout">How long it waits; 0: it only looks; null or <see cref="Timeout.InfiniteTimeSpan"/>: without a limit.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>True when nothing is out any more; false when the time was up before.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The time is negative or longer than a timer takes.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled before either.</exception>
    ValueTask<bool> DrainAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default);

    /// <summary>A snapshot of the pool's statistics. Totals are exact when nothing rents or returns meanwhile.</summary>
    RmaPoolStatistics GetStatistics();
}
