using AllocTools.Regions;

namespace AllocTools.Endpoints;

/// <summary>
/// Moves the pool's memory between this process and its peers. While an operation runs it holds its buffer, so that
/// the memory can't be handed out again under it: a buffer that is disposed meanwhile comes back when it ends.
/// </summary>
/// <remarks>
/// All members are safe to call from any thread. Operations to one peer are posted in the order of the calls.
/// A <see cref="ValueTask"/> that an operation returns is awaited once, and is not dropped: one that nobody awaits keeps
/// its place among the operations that may be outstanding. A <c>timeout</c> is 0 to 24 hours, or
/// <see cref="Timeout.InfiniteTimeSpan"/>; time spent waiting for such a place counts.
/// When it is disposed, operations that were started end by their tasks with an <see cref="RmaOperationException"/> (ECANCELED),
/// and later calls throw <see cref="ObjectDisposedException"/> at once.
/// </remarks>
public interface IRmaEndpoint : IAsyncDisposable, IDisposable
{
    /// <summary>The context it belongs to. Only buffers of pools on this context can be used.</summary>
    IRmaContext Context { get; }

    /// <summary>
    /// Its own address; peers pass it to <see cref="InsertPeer"/>. It starts with the transport's own, which a program in C
    /// can pass to fi_av_insert as it stands; a trailer says which transport it is of (docs/wire-forms.md).
    /// </summary>
    ReadOnlyMemory<byte> Address { get; }

    /// <summary>What became of its operations so far, and what it has to do now; empty where an endpoint keeps no statistics.</summary>
    RmaEndpointStatistics GetStatistics() => new() { Operations = [] };

    /// <summary>
    /// Makes a peer known (fi_av_insert). One that is known already is so until it was removed as often as inserted. One
    /// that was lost is connected anew: it is another peer from then on, and its memory is imported again.
    /// </summary>
    /// <param name="address">
    /// The peer's <see cref="Address"/>. Or a transport's own address without a trailer, as a program in C has it
    /// (fi_getname): then nothing is known of the peer's protocol, and whether it fits is not checked.
    /// </param>
    /// <exception cref="RmaProviderException">The address is not one of this transport, is damaged, or its peer can't work with this endpoint; the message names both sides.</exception>
    RmaPeer InsertPeer(ReadOnlySpan<byte> address);

    /// <summary>
    /// Forgets a peer (fi_av_remove): no operation with it can be started any more. Those that are outstanding go on, and
    /// the transport keeps its address for them until the endpoint is closed.
    /// </summary>
    /// <param name="peer">A peer of this endpoint.</param>
    /// <exception cref="ArgumentException">It is another endpoint's, or was removed before.</exception>
    void RemovePeer(RmaPeer peer);

    /// <summary>
    /// Reports peers that are lost from this call on, until the endpoint is closed. Each call has a reader of its own, which
    /// runs where it awaits and never holds up the endpoint; one that lags by more than 1,024 reports loses the oldest.
    /// Operations to a lost peer fail at once with a <see cref="RmaPeerLostException"/>, whether anybody reads or not.
    /// </summary>
    /// <param name="cancellationToken">Ends the reader.</param>
    IAsyncEnumerable<RmaPeerLost> ReadLostPeersAsync(CancellationToken cancellationToken = default) => AsyncEnumerable.Empty<RmaPeerLost>();

    /// <summary>Makes a peer's memory usable in operations.</summary>
    /// <param name="peer">Whose memory it is.</param>
    /// <param name="memory">What the peer said of it.</param>
    /// <exception cref="ArgumentException">The peer is another endpoint's, or the memory grants nothing.</exception>
    /// <exception cref="RmaProviderException">The memory is of another transport, or of another endpoint than the peer's; or its key can't be mapped.</exception>
    /// <example>
    /// <code>
    /// // What the peer has sent: its endpoint's address, and its exposure's Remote.
    /// RmaPeer owner = endpoint.InsertPeer(address);
    /// using RemoteRegion theirs = endpoint.Import(owner, RemoteMemory.Read(memory));
    /// using RmaBuffer buffer = pool.Rent(theirs.Length);
    /// await endpoint.WriteAsync(buffer, theirs, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    RemoteRegion Import(RmaPeer peer, RemoteMemory memory);

    /// <summary>Writes to a peer's memory. By default it completes when the bytes are there, where the transport can tell.</summary>
    /// <param name="source">What to write.</param>
    /// <param name="destination">Where to; at least as long.</param>
    /// <param name="timeout">Instead of the endpoint's own time-out.</param>
    /// <param name="cancellationToken">Advice: the operation may still happen.</param>
    /// <exception cref="RmaOperationException">It failed.</exception>
    /// <exception cref="RmaTimeoutException">It did not complete in time.</exception>
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
    /// Writes to a peer's memory, and brings the peer a number with the bytes: it arrives there once all of them are in its
    /// memory, never before (<see cref="ReadNotificationsAsync"/>).
    /// </summary>
    /// <param name="source">What to write, 1 byte or more.</param>
    /// <param name="destination">Where to; at least as long.</param>
    /// <param name="notification">The number; it must fit into the traits' <see cref="RmaProviderTraits.NotificationSize"/> bytes.</param>
    /// <param name="timeout">Instead of the endpoint's own time-out.</param>
    /// <param name="cancellationToken">Advice: the operation may still happen.</param>
    /// <exception cref="NotSupportedException">The transport has no such writes.</exception>
    /// <exception cref="RmaOperationException">It failed.</exception>
    /// <exception cref="RmaTimeoutException">It did not complete in time.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(4096);
    /// buffer.Span.Fill(42);
    /// // The peer reads 17 once all bytes of block 17 are there.
    /// await endpoint.WriteAsync(buffer, remote.Slice(17 * 4096, 4096), notification: 17, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    ValueTask WriteAsync(RmaSlice source, RemoteSlice destination, ulong notification, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("This endpoint has no writes that bring a number.");

    /// <summary>
    /// Reads the numbers that peers' writes have brought (<see cref="WriteAsync(RmaSlice, RemoteSlice, ulong, TimeSpan?, CancellationToken)"/>),
    /// in the order of their arrival, until the endpoint is closed. The bytes of a write are in memory when its number is read.
    /// Several readers share what comes. Where progress is the caller's they come by <see cref="PollNotifications"/> only.
    /// </summary>
    /// <param name="cancellationToken">Ends the reader.</param>
    /// <exception cref="RmaNotificationsLostException">Some found no room, because they were not read in time. What was kept can be read after this.</exception>
    /// <exception cref="RmaException">The endpoint has failed, so nothing will come any more. What had come before can be read before this.</exception>
    /// <example>
    /// <code>
    /// await foreach (RmaNotification done in endpoint.ReadNotificationsAsync(cancellationToken))
    ///     Console.WriteLine($"{done.Sender} has written block {done.Value}");
    /// </code>
    /// </example>
    IAsyncEnumerable<RmaNotification> ReadNotificationsAsync(CancellationToken cancellationToken = default) =>
        throw new NotSupportedException("This endpoint has no writes that bring a number.");

    /// <summary>Takes notifications that are there; as <see cref="ReadNotificationsAsync"/>, without waiting. Where progress is the caller's, makes progress.</summary>
    /// <param name="notifications">Room for them.</param>
    /// <returns>How many were taken.</returns>
    /// <exception cref="RmaNotificationsLostException">Some found no room, because they were not read in time.</exception>
    /// <exception cref="RmaException">The endpoint has failed, and what had come before was taken.</exception>
    int PollNotifications(Span<RmaNotification> notifications) => throw new NotSupportedException("This endpoint has no writes that bring a number.");

    /// <summary>Reads a peer's memory.</summary>
    /// <param name="destination">Where to.</param>
    /// <param name="source">What to read; at least as long.</param>
    /// <param name="timeout">Instead of the endpoint's own time-out.</param>
    /// <param name="cancellationToken">Advice: the operation may still happen.</param>
    /// <exception cref="RmaOperationException">It failed, or the destination is read-only memory of the caller's.</exception>
    /// <exception cref="RmaTimeoutException">It did not complete in time.</exception>
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
    /// <param name="peer">To whom.</param>
    /// <param name="timeout">Instead of the endpoint's own time-out.</param>
    /// <param name="cancellationToken">Advice: the operation may still happen.</param>
    /// <exception cref="RmaOperationException">It failed.</exception>
    /// <exception cref="RmaTimeoutException">It did not complete in time.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer message = pool.Rent(5);
    /// "ready"u8.CopyTo(message.Span);
    /// await endpoint.SendAsync(message, peer, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    ValueTask SendAsync(RmaSlice message, RmaPeer peer, TimeSpan? timeout = null, CancellationToken cancellationToken = default);

    /// <summary>Receives the next message of any peer. Buffers are filled in the order of the calls.</summary>
    /// <param name="buffer">Where to.</param>
    /// <param name="timeout">Instead of the endpoint's own time-out; a server that waits for anybody passes <see cref="Timeout.InfiniteTimeSpan"/>.</param>
    /// <param name="cancellationToken">Advice: a message may still arrive.</param>
    /// <returns>The message's length, in bytes, and its sender.</returns>
    /// <exception cref="RmaMessageTruncatedException">The message was longer than the buffer, and is lost; the endpoint goes on.</exception>
    /// <exception cref="RmaOperationException">It failed, or the buffer is read-only memory of the caller's.</exception>
    /// <exception cref="RmaTimeoutException">No message came in time.</exception>
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
    /// Makes an empty batch: operations that are prepared once, posted together as often as is needed, and awaited at once. It
    /// costs less than as many single operations, and needs no <see cref="ValueTask"/> of each.
    /// </summary>
    /// <param name="capacity">How many operations it has room for at first; it grows.</param>
    /// <exception cref="NotSupportedException">This endpoint has no batches; those of <see cref="RmaEndpoint"/> do.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(100 * 4096);
    /// RmaBatch batch = endpoint.CreateBatch();
    /// for (int i = 0; i &lt; 100; i++)
    ///     batch.Write(buffer.Slice(i * 4096, 4096), remote.Slice(i * 65536, 4096));
    /// await batch.RunAsync(cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    RmaBatch CreateBatch(int capacity = 64) => throw new NotSupportedException($"{GetType()} has no batches.");

    /// <summary>Posts an operation without a task; its end comes from <see cref="Poll"/>.</summary>
    /// <param name="operation">The operation.</param>
    /// <returns>False when the transport or the endpoint is full: poll, then try again.</returns>
    /// <exception cref="RmaOperationException">The transport refused it.</exception>
    bool TryPost(in RmaOperation operation);

    /// <summary>Takes the ends of operations that <see cref="TryPost"/> posted. Where progress is the caller's, makes progress.</summary>
    /// <param name="completions">Room for them.</param>
    /// <returns>How many were taken.</returns>
    int Poll(Span<RmaCompletion> completions);
}
