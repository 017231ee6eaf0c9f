using System.Buffers;
using System.Diagnostics;
using AllocTools.Diagnostics;
using AllocTools.Endpoints.Batches;
using AllocTools.Validation;

namespace AllocTools.Endpoints;

/// <summary>
/// A prepared list of operations of one endpoint, which are posted and awaited together. It is built once and can be
/// run any number of times. <see cref="IRmaEndpoint.CreateBatch"/> creates one.
/// </summary>
/// <remarks>
/// <para>
/// Operations to one peer are posted in the order in which they were added, as fast as the transport accepts them. If
/// possible, the transport is informed that more follow (FI_MORE). A batch may have more operations than may be
/// outstanding (<c>Endpoint:MaxOutstanding</c>): the rest follows as earlier ones end. Operations that other calls
/// start during a run may be posted between those of the batch.
/// </para>
/// <para>
/// A run holds all buffers of the batch, so <see cref="RmaBuffer.Return"/> throws, and a buffer that is disposed returns
/// to its pool when the run has ended. A run allocates nothing, unless the limit of outstanding operations is reached
/// when it begins.
/// </para>
/// <para>Only one thread at a time may build a batch. Running or changing a batch while it runs throws.</para>
/// </remarks>
public sealed class RmaBatch
{
    private readonly RmaEndpoint _endpoint;
    private readonly BatchRun _run;

    internal RmaBatch(RmaEndpoint endpoint, BatchRun run)
    {
        _endpoint = endpoint;
        _run = run;
    }

    /// <summary>The number of operations.</summary>
    public int Count => _run.List.Count;

    /// <summary>Adds a write to a peer's memory.</summary>
    /// <param name="source">The bytes to write.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <returns>The operation's index, which <see cref="RmaBatchException.Index"/> refers to.</returns>
    /// <exception cref="ArgumentException">The buffer belongs to another context, or the memory belongs to another
    /// endpoint or is shorter than the source.</exception>
    /// <exception cref="InvalidOperationException">The batch is running, the buffer was returned, or the peer did not expose its memory for writing.</exception>
    public int Write(RmaSlice source, RemoteSlice destination) => Add(RmaOperation.Write(source, destination));

    /// <summary>
    /// Adds writes of a sequence to a peer's memory, one for each of its segments, end to end. Data from a pipe is thus
    /// written without a copy.
    /// </summary>
    /// <remarks>
    /// If the call throws, nothing was added. The segments must stay rented until the run has ended: advance a pipe's
    /// reader only after that.
    /// </remarks>
    /// <param name="source">The bytes to write. Each segment must be memory of a buffer; see
    /// <see cref="RmaSlice.TryGet(ReadOnlyMemory{byte}, out RmaSlice)"/>.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <returns>The index of the first write; the others follow. For an empty sequence, nothing is added.</returns>
    /// <exception cref="ArgumentException">A segment is not memory of a buffer; also thrown as by
    /// <see cref="Write(RmaSlice, RemoteSlice)"/>.</exception>
    /// <exception cref="InvalidOperationException">The batch is running, a segment's buffer was returned, or the peer did not expose its memory for writing.</exception>
    /// <example>
    /// <code>
    /// PipeReader reader = new Pipe(pool.ToPipeOptions()).Reader;
    /// RmaBatch batch = endpoint.CreateBatch();
    /// ReadResult read = await reader.ReadAsync(cancellationToken);
    /// batch.Write(read.Buffer, remote);
    /// await batch.RunAsync(cancellationToken: cancellationToken);
    /// reader.AdvanceTo(read.Buffer.End);
    /// </code>
    /// </example>
    public int Write(in ReadOnlySequence<byte> source, RemoteSlice destination)
    {
        if (TryWrite(source, destination, out long offset))
            return Count - NumberOfSegments(source);
        throw new ArgumentException(
            $"The segment at offset {InWords.Number(offset)} of the sequence of {InWords.Size(source.Length)} is not memory of a buffer. Copy such bytes into a buffer first; TryWrite returns false for them.", nameof(source));
    }

    /// <summary>Like <see cref="Write(in ReadOnlySequence{byte}, RemoteSlice)"/>, but returns false and adds nothing if a segment is not memory of a buffer.</summary>
    /// <inheritdoc cref="Write(in ReadOnlySequence{byte}, RemoteSlice)" path="/remarks"/>
    /// <param name="source">The bytes to write.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <returns>True if the writes were added.</returns>
    /// <exception cref="ArgumentException">Thrown as by <see cref="Write(RmaSlice, RemoteSlice)"/>.</exception>
    /// <exception cref="InvalidOperationException">The batch is running, a segment's buffer was returned, or the peer did not expose its memory for writing.</exception>
    public bool TryWrite(in ReadOnlySequence<byte> source, RemoteSlice destination) => TryWrite(source, destination, out _);

    /// <summary>Adds a write to a peer's memory that sends the peer a number once the bytes are there.</summary>
    /// <param name="source">The bytes to write, 1 byte or more.</param>
    /// <param name="destination">The destination, which must be at least as long.</param>
    /// <param name="notification">The number; it must fit into the traits' <see cref="Regions.RmaProviderTraits.NotificationSize"/> bytes.</param>
    /// <returns>The operation's index, which <see cref="RmaBatchException.Index"/> refers to.</returns>
    /// <exception cref="ArgumentException">The number does not fit, or there are no bytes; also thrown as by <see cref="Write(RmaSlice, RemoteSlice)"/>.</exception>
    /// <exception cref="InvalidOperationException">The batch is running, the buffer was returned, or the peer did not expose its memory for writing.</exception>
    /// <exception cref="NotSupportedException">The transport does not support writes with a notification.</exception>
    public int WriteAndNotify(RmaSlice source, RemoteSlice destination, ulong notification) => Add(RmaOperation.WriteAndNotify(source, destination, notification));

    /// <summary>Adds a read of a peer's memory.</summary>
    /// <param name="destination">The destination.</param>
    /// <param name="source">The bytes to read, which must be at least as long as the destination.</param>
    /// <returns>The operation's index, which <see cref="RmaBatchException.Index"/> refers to.</returns>
    /// <exception cref="ArgumentException">The buffer belongs to another context, or the memory belongs to another
    /// endpoint or is shorter than the destination.</exception>
    /// <exception cref="InvalidOperationException">The batch is running, the buffer was returned, or the peer did not expose its memory for reading.</exception>
    /// <exception cref="RmaOperationException">The destination is read-only.</exception>
    public int Read(RmaSlice destination, RemoteSlice source) => Add(RmaOperation.Read(destination, source));

    /// <summary>Adds a message.</summary>
    /// <param name="message">The message.</param>
    /// <param name="peer">The recipient.</param>
    /// <returns>The operation's index, which <see cref="RmaBatchException.Index"/> refers to.</returns>
    /// <exception cref="ArgumentException">The buffer belongs to another context, the peer belongs to another endpoint,
    /// or the message is too long.</exception>
    /// <exception cref="InvalidOperationException">The batch is running, or the buffer was returned.</exception>
    public int Send(RmaSlice message, RmaPeer peer) => Add(RmaOperation.Send(message, peer));

    /// <summary>Removes all operations, but keeps the capacity.</summary>
    /// <exception cref="InvalidOperationException">The batch is running.</exception>
    public void Clear()
    {
        _run.ThrowIfRunning();
        _run.List.Clear();
    }

    /// <summary>
    /// Posts all operations, and completes when all have ended. After the first failure, no more are posted, except one that
    /// was announced to the transport, and the run completes when all posted operations have ended. The result must be
    /// awaited exactly once, like any <see cref="ValueTask"/>, and before the next run.
    /// </summary>
    /// <param name="timeout">The time-out of the whole run, which replaces the endpoint's: 0 to 24 hours, or
    /// <see cref="Timeout.InfiniteTimeSpan"/>.</param>
    /// <param name="cancellationToken">Requests cancellation; operations that were posted may still be executed.</param>
    /// <exception cref="RmaBatchException">An operation failed, or did not complete in time; the exception contains the
    /// operation's index and the cause.</exception>
    /// <exception cref="InvalidOperationException">The batch is already running, a buffer was returned, or a peer was
    /// removed. The message names the operation with that buffer or peer.</exception>
    /// <exception cref="ObjectDisposedException">The endpoint is disposed, or a <see cref="RemoteRegion"/> is. The message names the operation with that region.</exception>
    /// <example>
    /// <code>
    /// using RmaBuffer buffer = pool.Rent(1000 * 4096);
    /// RmaBatch batch = endpoint.CreateBatch();
    /// for (int i = 0; i &lt; 1000; i++)
    ///     batch.Write(buffer.Slice(i * 4096, 4096), remote.Slice(i * 65536, 4096));
    /// for (byte round = 0; round &lt; 10; round++)
    /// {
    ///     buffer.Span.Fill(round);
    ///     try
    ///     {
    ///         await batch.RunAsync(TimeSpan.FromSeconds(5), cancellationToken);
    ///     }
    ///     catch (RmaBatchException failed) when (failed.IsTransient)
    ///     {
    ///         Console.Error.WriteLine($"Write {failed.Index} of round {round}: {failed.Message}");
    ///     }
    /// }
    /// </code>
    /// </example>
    public ValueTask RunAsync(TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        RmaActivities.OperationsAreTraced ? Trace(timeout, cancellationToken) : _endpoint.Run(_run, timeout, cancellationToken);

    /// <summary>Starts a run with a span, which allocates, unlike a start without one.</summary>
    private ValueTask Trace(TimeSpan? timeout, CancellationToken cancellationToken)
    {
        Activity? callers = Activity.Current;
        RmaSpan span = _endpoint.StartBatchSpan(_run.List);
        try
        {
            return EndAsync(span, _endpoint.Run(_run, timeout, cancellationToken));
        }
        catch (Exception e)
        {
            // The exception is thrown immediately, as it is without a span.
            span.Fail(e);
            span.Dispose();
            throw;
        }
        finally
        {
            Activity.Current = callers;
        }
    }

    private static async ValueTask EndAsync(RmaSpan span, ValueTask running)
    {
        using (span)
        {
            try
            {
                await running.ConfigureAwait(false);
            }
            catch (Exception e)
            {
                span.Fail(e);
                throw;
            }
        }
    }

    /// <summary>Returns the number of operations, their bytes, and the provider.</summary>
    public override string ToString() =>
        $"batch of {InWords.Count(Count, "operation", "operations")} of {InWords.Bytes(_run.List.Length)}, of provider '{_endpoint.Context.Traits.ProviderName}'";

    /// <summary>Adds the writes of a sequence, after it has checked all of them.</summary>
    /// <param name="source">The bytes to write.</param>
    /// <param name="destination">The destination.</param>
    /// <param name="offset">The offset of the segment that is not memory of a buffer.</param>
    private bool TryWrite(in ReadOnlySequence<byte> source, RemoteSlice destination, out long offset)
    {
        _run.ThrowIfRunning();
        if (source.Length > destination.Length)
            throw new ArgumentException($"A write of {InWords.Size(source.Length)} exceeds the {InWords.Size(destination.Length)} of the peer's memory. Pass a shorter sequence.", nameof(source));
        offset = 0;
        foreach (ReadOnlyMemory<byte> segment in source)
        {
            if (!segment.IsEmpty)
            {
                if (!RmaSlice.TryGet(segment, out RmaSlice slice))
                    return false;
                _endpoint.CheckForBatch(RmaOperation.Write(slice, destination.Slice(offset, segment.Length)));
            }
            offset += segment.Length;
        }
        offset = 0;
        foreach (ReadOnlyMemory<byte> segment in source)
        {
            if (!segment.IsEmpty && RmaSlice.TryGet(segment, out RmaSlice slice))
                _run.List.Add(RmaOperation.Write(slice, destination.Slice(offset, segment.Length)));
            offset += segment.Length;
        }
        return true;
    }

    private static int NumberOfSegments(in ReadOnlySequence<byte> sequence)
    {
        int count = 0;
        foreach (ReadOnlyMemory<byte> segment in sequence)
            count += segment.IsEmpty ? 0 : 1;
        return count;
    }

    private int Add(in RmaOperation operation)
    {
        _run.ThrowIfRunning();
        _endpoint.CheckForBatch(operation);
        return _run.List.Add(operation);
    }
}
