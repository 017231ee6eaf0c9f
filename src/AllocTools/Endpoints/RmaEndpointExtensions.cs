using System.Buffers;
using System.Runtime.CompilerServices;
using AllocTools.Endpoints.Engine;
using AllocTools.Validation;

namespace AllocTools.Endpoints;

/// <summary>Higher-level calls that combine an endpoint's operations.</summary>
public static class RmaEndpointExtensions
{
    /// <summary>
    /// Writes a sequence, such as one from a pipe's reader, to a peer's memory. Segments that are memory of buffers are
    /// written directly, all others through a spare buffer. The call completes when all bytes have been written.
    /// </summary>
    /// <remarks>
    /// The call creates one <see cref="RmaBatch"/>, and runs it once if nothing has to be copied, or if all copied bytes fit
    /// into the spare buffer. Otherwise it runs the batch again each time the spare buffer is full. If the call fails, some
    /// of the bytes may have been written.
    /// </remarks>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="source">The bytes to write. Segments that
    /// <see cref="RmaSlice.TryGet(ReadOnlyMemory{byte}, out RmaSlice)"/> finds must belong to the endpoint's context.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <param name="spare">The buffer for copied bytes, 1 byte or more. If it is rented in advance, it is available
    /// even when the pool reaches its cap.</param>
    /// <param name="timeout">Replaces the endpoint's time-out for each run.</param>
    /// <param name="cancellationToken">Requests cancellation; the operation may still be executed.</param>
    /// <returns>The number of bytes that were copied.</returns>
    /// <exception cref="ArgumentException">The sequence is longer than the destination, or the spare buffer is empty; also thrown as by <see cref="RmaBatch.Write(RmaSlice, RemoteSlice)"/>.</exception>
    /// <exception cref="InvalidOperationException">A buffer was returned, or the peer did not expose its memory for writing.</exception>
    /// <exception cref="NotSupportedException">The endpoint does not support batches.</exception>
    /// <exception cref="RmaBatchException">A write failed.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer spare = pool.Rent(64 &lt;&lt; 10);
    /// var received = new ReadOnlySequence&lt;byte&gt;(new byte[100_000]);
    /// long copied = await endpoint.WriteAsync(received, remote, spare, cancellationToken: cancellationToken);
    /// </code>
    /// </example>
    public static async ValueTask<long> WriteAsync(
        this IRmaEndpoint endpoint,
        ReadOnlySequence<byte> source,
        RemoteSlice destination,
        RmaBuffer spare,
        TimeSpan? timeout = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        if (source.Length > destination.Length)
            throw new ArgumentException($"The sequence of {InWords.Size(source.Length)} exceeds the {InWords.Size(destination.Length)} of the destination.", nameof(source));
        if (spare.Length == 0)
            throw new ArgumentException("The spare buffer must have at least one byte.", nameof(spare));
        RmaBatch batch = endpoint.CreateBatch();
        long written = 0, copied = 0, used = 0;
        foreach (ReadOnlyMemory<byte> segment in source)
        {
            if (RmaSlice.TryGet(segment, out RmaSlice slice))
            {
                batch.Write(slice, destination.Slice(written, slice.Length));
                written += slice.Length;
                continue;
            }
            for (ReadOnlyMemory<byte> rest = segment; !rest.IsEmpty;)
            {
                if (used == spare.Length)
                {
                    await batch.RunAsync(timeout, cancellationToken).ConfigureAwait(false);
                    batch.Clear();
                    used = 0;
                }
                int part = (int)Math.Min(rest.Length, spare.Length - used);
                rest.Span[..part].CopyTo(spare.GetSpan(used, part));
                batch.Write(spare.Slice(used, part), destination.Slice(written, part));
                (used, copied, written) = (used + part, copied + part, written + part);
                rest = rest[part..];
            }
        }
        if (batch.Count > 0)
            await batch.RunAsync(timeout, cancellationToken).ConfigureAwait(false);
        return copied;
    }

    /// <summary>
    /// Receives messages of all peers into buffers of a pool, and returns each message in its buffer, in the order of
    /// arrival, until the enumeration is cancelled or the endpoint is closed. Some receives are always posted, so that
    /// messages find a receive while the caller processes earlier ones.
    /// </summary>
    /// <remarks>
    /// <para>If the caller makes progress, some thread must poll meanwhile.</para>
    /// <para>
    /// Each message has its own buffer, so messages may be disposed later, in any order, by any thread. While the pool has
    /// no room for another buffer, fewer receives are posted. If none is posted and no room becomes available within
    /// <see cref="RmaMemoryPoolOptions.RentTimeout"/>, the enumeration throws <see cref="RmaPoolExhaustedException"/>.
    /// </para>
    /// <para>
    /// When the enumeration is cancelled or the endpoint is closed, messages that have already been received are returned
    /// first. Then the enumeration throws <see cref="OperationCanceledException"/>, or just ends if the endpoint was closed,
    /// and all other buffers are returned to the pool. A message that is in flight at that time may be lost with the receive
    /// that it matches, or it waits for the next receive of this endpoint. A caller who breaks out of the loop loses the
    /// messages that its posted receives have already received. To lose none of them, cancel the token and continue to the
    /// end.
    /// </para>
    /// </remarks>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="pool">The pool that provides the buffers; it must be on the endpoint's context.</param>
    /// <param name="bufferLength">The length of each buffer in bytes, which is the longest message that can be received. A longer one is lost, and reported by <see cref="RmaMessage.IsTruncated"/>.</param>
    /// <param name="posted">The number of receives that are kept posted, 1 or more. All of them count as outstanding operations.</param>
    /// <param name="cancellationToken">Ends the enumeration.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is less than 1.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool does not have room for even one buffer.</exception>
    /// <exception cref="RmaOperationException">A receive failed.</exception>
    /// <example>
    /// <code>
    /// await foreach (RmaMessage message in endpoint.ReceiveAllAsync(pool, bufferLength: 64 &lt;&lt; 10, cancellationToken: cancellationToken))
    /// {
    ///     using (message)
    ///     {
    ///         if (message.IsTruncated)
    ///             Console.Error.WriteLine(message.Truncation.Message); // that message is lost; the next one may fit
    ///         else
    ///             Console.WriteLine($"{message.Sender}: {System.Text.Encoding.UTF8.GetString(message.Span)}");
    ///     }
    /// }
    /// </code>
    /// </example>
    public static IAsyncEnumerable<RmaMessage> ReceiveAllAsync(
        this IRmaEndpoint endpoint, IRmaMemoryPool pool, long bufferLength, int posted = 16, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfLessThan(bufferLength, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(posted, 1);
        return new Receiver(endpoint, pool, bufferLength, posted).RunAsync(cancellationToken);
    }

    /// <summary>The receives of one enumeration.</summary>
    private sealed class Receiver(IRmaEndpoint endpoint, IRmaMemoryPool pool, long length, int count)
    {
        // The receives in the order in which they were posted, which is also the order in which messages match them.
        private readonly Queue<(RmaBuffer Buffer, ValueTask<RmaReceiveResult> Task)> _posted = new(count);

        // A rent that is waiting for room.
        private Task<RmaBuffer>? _renting;

        public async IAsyncEnumerable<RmaMessage> RunAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            bool isEnding = false;
            try
            {
                while (true)
                {
                    isEnding = isEnding || !await TryPostAsync(stop.Token).ConfigureAwait(false);
                    if (isEnding)
                        await stop.CancelAsync().ConfigureAwait(false);
                    if (_posted.Count == 0)
                        break;
                    (bool isMet, RmaMessage message) = await TakeAsync(stop.Token).ConfigureAwait(false);
                    isEnding |= !isMet;
                    if (isMet)
                        yield return message;
                }
                cancellationToken.ThrowIfCancellationRequested();
            }
            finally
            {
                await stop.CancelAsync().ConfigureAwait(false);
                await EndAsync(stop.Token).ConfigureAwait(false);
            }
        }

        /// <summary>Posts the missing receives, as far as the pool has room for their buffers.</summary>
        /// <returns>False if the enumeration is cancelled, or the endpoint is closed.</returns>
        private async ValueTask<bool> TryPostAsync(CancellationToken stop)
        {
            while (_posted.Count < count)
            {
                RmaBuffer buffer;
                try
                {
                    _renting ??= pool.RentAsync(length, stop).AsTask();
                    // Callers may have to return the buffers of their messages before there is room.
                    if (!_renting.IsCompleted && _posted.Count > 0)
                        return true;
                    Task<RmaBuffer> renting = _renting;
                    _renting = null;
                    buffer = await renting.ConfigureAwait(false);
                }
                catch (RmaPoolExhaustedException) when (_posted.Count > 0)
                {
                    return true;
                }
                catch (OperationCanceledException) when (stop.IsCancellationRequested)
                {
                    return false;
                }
                try
                {
                    ValueTask<RmaReceiveResult> task = endpoint.ReceiveAsync(buffer, Timeout.InfiniteTimeSpan, stop);
                    _posted.Enqueue((buffer, task));
                }
                catch (Exception e)
                {
                    buffer.Dispose();
                    if (e is not ObjectDisposedException)
                        throw;
                    return false;
                }
            }
            return true;
        }

        /// <summary>Waits for the oldest receive.</summary>
        /// <returns>Whether it received a message, which may have been too long; false if it was cancelled.</returns>
        private async ValueTask<(bool IsMet, RmaMessage Message)> TakeAsync(CancellationToken stop)
        {
            (RmaBuffer buffer, ValueTask<RmaReceiveResult> task) = _posted.Dequeue();
            try
            {
                return (true, new RmaMessage(buffer, await task.ConfigureAwait(false)));
            }
            catch (RmaMessageTruncatedException e)
            {
                buffer.Dispose();
                return (true, new RmaMessage(e));
            }
            catch (Exception e)
            {
                buffer.Dispose();
                if (!IsEnd(e, stop))
                    throw;
                return (false, default);
            }
        }

        /// <summary>Waits for the cancelled receives, and returns their buffers.</summary>
        private async ValueTask EndAsync(CancellationToken stop)
        {
            while (_posted.Count > 0)
            {
                try
                {
                    (_, RmaMessage message) = await TakeAsync(stop).ConfigureAwait(false);
                    message.Dispose();
                }
                catch (RmaException)
                {
                    // The failure of another receive has ended the enumeration, and is already propagating to the caller.
                }
            }
            if (_renting is null)
                return;
            await ((Task)_renting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (_renting.IsCompletedSuccessfully)
                (await _renting.ConfigureAwait(false)).Dispose();
        }

        /// <summary>Whether the receive was cancelled, or its endpoint was closed.</summary>
        private static bool IsEnd(Exception error, CancellationToken stop) =>
            (error is OperationCanceledException && stop.IsCancellationRequested) || error is ObjectDisposedException or RmaOperationException { ErrorCode: EndpointErrors.Canceled };
    }
}
