using AllocTools.Regions;

namespace AllocTools.Endpoints;

/// <summary>
/// Moves the pool's memory between this process and its peers. While an operation runs, it holds its buffer, so that the
/// memory can't be rented again. A buffer that is disposed meanwhile returns to the pool when the operation ends.
/// </summary>
/// <remarks>
/// All members are safe to call from any thread. Operations to one peer are posted in the order of the calls.
/// A <see cref="ValueTask"/> that an operation returns must be awaited exactly once: if it is never awaited, the
/// operation counts as outstanding forever. A <c>timeout</c> is 0 to 24 hours, or <see cref="Timeout.InfiniteTimeSpan"/>.
/// It includes the time spent waiting because too many operations are outstanding. When the endpoint is disposed, the
/// tasks of operations that were started fail with an <see cref="RmaOperationException"/> (ECANCELED), and later calls
/// throw <see cref="ObjectDisposedException"/> immediately.
/// </remarks>
public interface IRmaEndpoint : IAsyncDisposable, IDisposable
{
    /// <summary>The context that the endpoint belongs to. Only buffers of pools on this context can be used.</summary>
    IRmaContext Context { get; }

    /// <summary>
    /// The endpoint's address, which peers pass to <see cref="InsertPeer"/>. It starts with the transport's own address,
    /// which a C program can pass to fi_av_insert unchanged; a trailer describes the transport (docs/wire-forms.md).
    /// </summary>
    ReadOnlyMemory<byte> Address { get; }

    /// <summary>Returns the statistics of the endpoint's operations so far, and of its current work; empty if an endpoint keeps no statistics.</summary>
    RmaEndpointStatistics GetStatistics() => new() { Operations = [] };

    /// <summary>
    /// Inserts a peer (fi_av_insert). A peer that is inserted several times must be removed as often. A peer that was lost
    /// is connected again: it is a new peer from then on, and its memory must be imported again.
    /// </summary>
    /// <param name="address">
    /// The peer's <see cref="Address"/>, or a transport's own address without a trailer, for example from a C program
    /// (fi_getname). In that case the peer's protocol is unknown, and is not checked.
    /// </param>
    /// <exception cref="RmaProviderException">The address does not belong to this transport, is damaged, or its peer can't
    /// work with this endpoint; the message describes both sides.</exception>
    RmaPeer InsertPeer(ReadOnlySpan<byte> address);

    /// <summary>
    /// Removes a peer (fi_av_remove): no more operations with it can be started. Outstanding ones continue, and the
    /// transport keeps the address at least until they have ended.
    /// </summary>
    /// <param name="peer">A peer of this endpoint.</param>
    /// <exception cref="ArgumentException">The peer belongs to another endpoint, or was already removed.</exception>
    void RemovePeer(RmaPeer peer);

    /// <summary>
    /// Reports the peers whose state changes from this call on, until the endpoint is closed: a peer is lost, is back
    /// because it was inserted again, is slow (<see cref="RmaEndpointOptions.SlowPeerTime"/>), or is no longer slow.
    /// Each call has its own reader, which never delays the endpoint; a reader that falls more than 1,024 reports behind
    /// loses the oldest ones. Operations to a lost peer fail immediately with an <see cref="RmaPeerLostException"/>, even if
    /// there is no reader.
    /// </summary>
    /// <param name="cancellationToken">Ends the reader.</param>
    /// <example>
    /// <code>
    /// await foreach (RmaPeerChange change in endpoint.ReadPeerChangesAsync(cancellationToken))
    ///     Console.WriteLine($"{change.Peer} is {change.State}: {change.Reason}");
    /// </code>
    /// </example>
    IAsyncEnumerable<RmaPeerChange> ReadPeerChangesAsync(CancellationToken cancellationToken = default) => AsyncEnumerable.Empty<RmaPeerChange>();

    /// <summary>Makes a peer's memory usable in operations.</summary>
    /// <param name="peer">The owner of the memory.</param>
    /// <param name="memory">The description that the peer sent.</param>
    /// <exception cref="ArgumentException">The peer belongs to another endpoint, or the memory grants no access.</exception>
    /// <exception cref="RmaProviderException">The memory belongs to a different transport, or to a different endpoint
    /// than the peer's; or its key can't be mapped.</exception>
    /// <example>
    /// <code>
    /// // The peer has sent its endpoint's address and its exposure's Remote.
    /// RmaPeer owner = endpoint.InsertPeer(address);
    /// using RemoteRegion theirs = endpoint.Import(owner, RemoteMemory.Read(memory));
    /// using RmaBuffer buffer = pool.Rent(theirs.Length);
    /// await endpoint.WriteAsync(buffer, theirs, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    RemoteRegion Import(RmaPeer peer, RemoteMemory memory);

    /// <summary>
    /// Writes to a peer's memory. By default the write completes when the bytes are in the peer's memory, if the
    /// transport can report that.
    /// </summary>
    /// <param name="source">The bytes to write.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <param name="timeout">Replaces the endpoint's time-out.</param>
    /// <param name="cancellationToken">Requests cancellation; the operation may still be executed.</param>
    /// <exception cref="RmaOperationException">The operation failed.</exception>
    /// <exception cref="RmaTimeoutException">The operation did not complete in time.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(4096);
    /// buffer.Span.Fill(42);
    /// // 4096 bytes, from byte 8192 of the peer's memory on.
    /// await endpoint.WriteAsync(buffer, remote.Slice(8192, 4096), cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, TimeSpan? timeout = null, CancellationToken cancellationToken = default);

    /// <summary>
    /// Writes to a peer's memory, and sends the peer a number. It arrives once all bytes are in the peer's memory, and never
    /// before (<see cref="ReadNotificationsAsync"/>).
    /// </summary>
    /// <param name="source">The bytes to write, 1 byte or more.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <param name="notification">The number; it must fit into the traits' <see cref="RmaProviderTraits.NotificationSize"/> bytes.</param>
    /// <param name="timeout">Replaces the endpoint's time-out.</param>
    /// <param name="cancellationToken">Requests cancellation; the operation may still be executed.</param>
    /// <exception cref="NotSupportedException">The transport does not support such writes.</exception>
    /// <exception cref="RmaOperationException">The operation failed.</exception>
    /// <exception cref="RmaTimeoutException">The operation did not complete in time.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(4096);
    /// buffer.Span.Fill(42);
    /// // The peer reads 17 once all bytes of block 17 are there.
    /// await endpoint.WriteAsync(buffer, remote.Slice(17 * 4096, 4096), notification: 17, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, ulong notification, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("This endpoint does not support writes with a notification.");

    /// <summary>
    /// Reads the notifications of peers' writes (<see cref="WriteAsync(RmaSlice, RemoteSlice, ulong, TimeSpan?, CancellationToken)"/>),
    /// in the order of their arrival, until the endpoint is closed. The bytes of a write are in memory when its number is read.
    /// Several readers share the notifications. If the caller makes progress, only <see cref="PollNotifications"/> returns them.
    /// </summary>
    /// <param name="cancellationToken">Ends the reader.</param>
    /// <exception cref="RmaNotificationsLostException">Some notifications were dropped, because they were not read in
    /// time. Those that were kept can be read after this exception.</exception>
    /// <exception cref="RmaException">The endpoint has failed, so no more notifications will arrive. Earlier ones can
    /// be read before this exception is thrown.</exception>
    /// <example>
    /// <code>
    /// await foreach (RmaNotification done in endpoint.ReadNotificationsAsync(cancellationToken))
    ///     Console.WriteLine($"{done.Sender} has written block {done.Value}");
    /// </code>
    /// </example>
    IAsyncEnumerable<RmaNotification> ReadNotificationsAsync(CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("This endpoint does not support writes with a notification.");

    /// <summary>
    /// Takes the notifications that have arrived, like <see cref="ReadNotificationsAsync"/> but without waiting. If the
    /// caller makes progress, this call does so.
    /// </summary>
    /// <param name="notifications">Receives the notifications.</param>
    /// <returns>The number of notifications taken.</returns>
    /// <exception cref="RmaNotificationsLostException">Some notifications were dropped, because they were not read in time.</exception>
    /// <exception cref="RmaException">The endpoint has failed, and all earlier notifications have been taken.</exception>
    int PollNotifications(Span<RmaNotification> notifications) => throw new NotSupportedException("This endpoint does not support writes with a notification.");

    /// <summary>Reads a peer's memory.</summary>
    /// <param name="destination">The destination.</param>
    /// <param name="source">The bytes to read, which must be at least as long as the destination.</param>
    /// <param name="timeout">Replaces the endpoint's time-out.</param>
    /// <param name="cancellationToken">Requests cancellation; the operation may still be executed.</param>
    /// <exception cref="RmaOperationException">The operation failed, or the destination is read-only.</exception>
    /// <exception cref="RmaTimeoutException">The operation did not complete in time.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(4096);
    /// await endpoint.ReadAsync(buffer, remote.Slice(0, 4096), cancellationToken: cancellationToken);
    /// Console.WriteLine(buffer.Span[0]);
    /// </code>
    /// </example>
    ValueTask ReadAsync(RmaSlice destination, RemoteSlice source, TimeSpan? timeout = null, CancellationToken cancellationToken = default);

    /// <summary>Sends a message.</summary>
    /// <param name="message">The message.</param>
    /// <param name="peer">The recipient.</param>
    /// <param name="timeout">Replaces the endpoint's time-out.</param>
    /// <param name="cancellationToken">Requests cancellation; the operation may still be executed.</param>
    /// <exception cref="RmaOperationException">The operation failed.</exception>
    /// <exception cref="RmaTimeoutException">The operation did not complete in time.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer message = pool.Rent(5);
    /// "ready"u8.CopyTo(message.Span);
    /// await endpoint.SendAsync(message, peer, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    ValueTask SendAsync(RmaSlice message, RmaPeer peer, TimeSpan? timeout = null, CancellationToken cancellationToken = default);

    /// <summary>Receives the next message of any peer. Buffers are filled in the order of the calls.</summary>
    /// <param name="buffer">The buffer to receive into.</param>
    /// <param name="timeout">Replaces the endpoint's time-out; a server that waits for any client passes <see cref="Timeout.InfiniteTimeSpan"/>.</param>
    /// <param name="cancellationToken">Requests cancellation; a message may still arrive.</param>
    /// <returns>The message's length, in bytes, and its sender.</returns>
    /// <exception cref="RmaMessageTruncatedException">The message was longer than the buffer, and is lost; the endpoint
    /// continues to work.</exception>
    /// <exception cref="RmaOperationException">The operation failed, or the buffer is read-only.</exception>
    /// <exception cref="RmaTimeoutException">No message arrived in time.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(1024);
    /// while (!cancellationToken.IsCancellationRequested)
    /// {
    ///     try
    ///     {
    ///         RmaReceiveResult message = await endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, cancellationToken);
    ///         Console.WriteLine($"{message.Sender}: {System.Text.Encoding.UTF8.GetString(buffer.GetSpan(0, message.Length))}");
    ///     }
    ///     catch (RmaMessageTruncatedException tooLong)
    ///     {
    ///         Console.Error.WriteLine(tooLong.Message); // that message is lost; the next one may fit
    ///     }
    /// }
    /// </code>
    /// </example>
    ValueTask<RmaReceiveResult> ReceiveAsync(RmaSlice buffer, TimeSpan? timeout = null, CancellationToken cancellationToken = default);

    /// <summary>
    /// Creates an empty batch: operations that are prepared once, posted together any number of times, and awaited
    /// together. A batch costs less than the same number of single operations, and needs no <see cref="ValueTask"/> for
    /// each.
    /// </summary>
    /// <param name="capacity">The initial capacity in operations; the batch grows as needed.</param>
    /// <exception cref="NotSupportedException">This endpoint does not support batches; an <see cref="RmaEndpoint"/> does.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(100 * 4096);
    /// RmaBatch batch = endpoint.CreateBatch();
    /// for (int i = 0; i &lt; 100; i++)
    ///     batch.Write(buffer.Slice(i * 4096, 4096), remote.Slice(i * 65536, 4096));
    /// await batch.RunAsync(cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    RmaBatch CreateBatch(int capacity = 64) => throw new NotSupportedException($"{GetType()} does not support batches.");

    /// <summary>Posts an operation without a task; <see cref="Poll"/> returns its completion.</summary>
    /// <param name="operation">The operation.</param>
    /// <returns>False if the transport or the endpoint is full: poll, then try again.</returns>
    /// <exception cref="RmaOperationException">The transport refused the operation.</exception>
    bool TryPost(in RmaOperation operation);

    /// <summary>
    /// Takes the completions of operations that <see cref="TryPost"/> posted. If the caller makes progress, this call
    /// does so.
    /// </summary>
    /// <param name="completions">Receives the completions.</param>
    /// <returns>The number of completions taken.</returns>
    int Poll(Span<RmaCompletion> completions);
}
