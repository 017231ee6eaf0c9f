using System.Runtime.CompilerServices;
using AllocTools.Endpoints.Engine;

namespace AllocTools;

/// <summary>What is done with endpoints by their operations.</summary>
public static class RmaEndpointExtensions
{
    /// <summary>
    /// Receives messages of all peers into buffers of a pool, and hands each out in its buffer, in the order of their arrival,
    /// until it is cancelled or the endpoint is closed. It always has some receives posted, so that messages are met while
    /// the caller works on others.
    /// </summary>
    /// <remarks>
    /// <para>Where progress is the caller's, somebody must poll meanwhile.</para>
    /// <para>
    /// Each message has its own buffer, so they may be disposed later, in any order, by any thread. While the pool has no room
    /// for another buffer fewer receives are posted; when none is posted any more and there is no room within
    /// <see cref="RmaMemoryPoolOptions.RentTimeout"/>, the enumeration throws <see cref="RmaPoolExhaustedException"/>.
    /// </para>
    /// <para>
    /// The end: when it is cancelled, or the endpoint is closed, receives that have a message by then are handed out first;
    /// then the enumeration throws <see cref="OperationCanceledException"/>, or just ends, and all other buffers are returned. A
    /// message that is under way meanwhile may be lost with the receive that it meets, or waits for the next receive at
    /// this endpoint. A caller who breaks out of the loop loses the messages that its posted receives have by then:
    /// cancel, and go on to the end, to lose none of them.
    /// </para>
    /// </remarks>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="pool">Where buffers come from; on the endpoint's context.</param>
    /// <param name="bufferLength">The length of each buffer: the longest message, in bytes, that peers send. A longer one is lost, and reported by <see cref="RmaMessage.IsTruncated"/>.</param>
    /// <param name="posted">How many receives are kept posted: 1 or more; all of them count among the operations that may be outstanding.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is less than 1.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="RmaPoolExhaustedException">The pool has no room for a single buffer.</exception>
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

    /// <summary>One enumeration's receives.</summary>
    private sealed class Receiver(IRmaEndpoint endpoint, IRmaMemoryPool pool, long length, int count)
    {
        // In the order in which they were posted, in which they are met.
        private readonly Queue<(RmaBuffer Buffer, ValueTask<RmaReceiveResult> Task)> _posted = new(count);

        // A rent that waits for room.
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

        /// <summary>Posts as many as are missing, as far as the pool has room for them.</summary>
        /// <returns>False: it is cancelled, or the endpoint is closed.</returns>
        private async ValueTask<bool> TryPostAsync(CancellationToken stop)
        {
            while (_posted.Count < count)
            {
                RmaBuffer buffer;
                try
                {
                    _renting ??= pool.RentAsync(length, stop).AsTask();
                    // Callers may have to return what they were handed out before there is room.
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
        /// <returns>Whether it was met by a message, which may have been too long; false where it was given up.</returns>
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

        /// <summary>Waits for what is given up, and returns its buffers.</summary>
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
                    // Another one's failure has ended the enumeration, and is on its way to the caller.
                }
            }
            if (_renting is null)
                return;
            await ((Task)_renting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (_renting.IsCompletedSuccessfully)
                (await _renting.ConfigureAwait(false)).Dispose();
        }

        /// <summary>The receive was cancelled, or its endpoint closed.</summary>
        private static bool IsEnd(Exception error, CancellationToken stop) =>
            (error is OperationCanceledException && stop.IsCancellationRequested) || error is ObjectDisposedException or RmaOperationException { ErrorCode: EndpointErrors.Canceled };
    }
}
