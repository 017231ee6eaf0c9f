using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;
using AllocTools.Validation;

namespace AllocTools.Endpoints.Integrity;

/// <summary>Operations with check values: bytes that were damaged in transit are reported instead of being returned.</summary>
public static class RmaCheckedExtensions
{
    /// <summary>The number of bytes at the end of a checked message's slice that hold its check value.</summary>
    public const int TrailerLength = sizeof(ulong);

    /// <summary>
    /// Computes the tags of blocks, and writes both to the same offset of a peer's checked memory. The peer compares
    /// them with <see cref="RmaCheckedMemory.Verify(long, long)"/> once it knows that they have arrived, for example by a
    /// message that is sent after this operation has completed.
    /// </summary>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="source">This side's memory.</param>
    /// <param name="destination">The whole of the peer's checked memory, rented with the same length, check value and block length.</param>
    /// <param name="offset">Where the first block begins.</param>
    /// <param name="length">The number of bytes: whole blocks, or up to the end.</param>
    /// <param name="timeout">How long the operation may take; null for the endpoint's OperationTimeout.</param>
    /// <param name="cancellationToken">Gives up the wait.</param>
    /// <exception cref="ArgumentException">The range does not consist of whole blocks, or the peer's memory has another length.</exception>
    /// <exception cref="RmaException">An operation has failed. Blocks may have arrived without their tags; repeating the write replaces both.</exception>
    public static async ValueTask WriteCheckedAsync(
        this IRmaEndpoint endpoint, RmaCheckedMemory source, RemoteRegion destination, long offset, long length, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ThrowIfDifferent(endpoint, source, destination);
        source.Seal(offset, length);
        (long Offset, long Length)[] parts = source.PartsOf(offset, length);
        if (parts is [var whole])
        {
            await endpoint.WriteAsync(source.Buffer.Slice(whole.Offset, whole.Length), destination.Slice(whole.Offset, whole.Length), timeout, cancellationToken).ConfigureAwait(false);
            return;
        }
        RmaBatch batch = endpoint.CreateBatch(parts.Length);
        foreach ((long at, long bytes) in parts)
            batch.Write(source.Buffer.Slice(at, bytes), destination.Slice(at, bytes));
        await batch.RunAsync(timeout, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Reads blocks of a peer's checked memory and their tags into the same offset of this side's memory, and compares them.</summary>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="destination">This side's memory.</param>
    /// <param name="source">The whole of the peer's checked memory, rented with the same length, check value and block length.</param>
    /// <param name="offset">Where the first block begins.</param>
    /// <param name="length">The number of bytes: whole blocks, or up to the end.</param>
    /// <param name="timeout">How long the operation may take; null for the endpoint's OperationTimeout.</param>
    /// <param name="cancellationToken">Gives up the wait.</param>
    /// <exception cref="ArgumentException">The range does not consist of whole blocks, or the peer's memory has another length.</exception>
    /// <exception cref="RmaIntegrityException">A block does not match its check value: it was damaged, or was being written. If others write to it, read again.</exception>
    /// <exception cref="RmaException">An operation has failed.</exception>
    public static async ValueTask ReadCheckedAsync(
        this IRmaEndpoint endpoint, RmaCheckedMemory destination, RemoteRegion source, long offset, long length, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ThrowIfDifferent(endpoint, destination, source);
        (long Offset, long Length)[] parts = destination.PartsOf(offset, length);
        if (parts is [var whole])
        {
            await endpoint.ReadAsync(destination.Buffer.Slice(whole.Offset, whole.Length), source.Slice(whole.Offset, whole.Length), timeout, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            RmaBatch batch = endpoint.CreateBatch(parts.Length);
            foreach ((long at, long bytes) in parts)
                batch.Read(destination.Buffer.Slice(at, bytes), source.Slice(at, bytes));
            await batch.RunAsync(timeout, cancellationToken).ConfigureAwait(false);
        }
        destination.Verify(offset, length);
    }

    /// <summary>
    /// Sends a message with a check value, which the receiver compares with <see cref="ReceiveCheckedAsync"/>. Both sides
    /// must use the same kind; a receiver that uses another one, or gets a message without one, reports damage.
    /// </summary>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="message">The message, followed by <see cref="TrailerLength"/> bytes that are overwritten by the check value.</param>
    /// <param name="peer">The recipient.</param>
    /// <param name="integrity">The kind of check value.</param>
    /// <param name="timeout">How long the operation may take; null for the endpoint's OperationTimeout.</param>
    /// <param name="cancellationToken">Gives up the wait.</param>
    /// <exception cref="ArgumentException">The slice has no room for the check value.</exception>
    /// <exception cref="RmaException">The message could not be sent.</exception>
    public static ValueTask SendCheckedAsync(this IRmaEndpoint endpoint, RmaSlice message, RmaPeer peer, RmaIntegrity integrity, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        if (message.Length < TrailerLength)
            throw new ArgumentException($"The message has {InWords.Bytes(message.Length)}; it must have {TrailerLength} at its end for the check value.", nameof(message));
        Span<byte> bytes = message.Span;
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[^TrailerLength..], OfMessage(integrity, bytes[..^TrailerLength]));
        return endpoint.SendAsync(message, peer, timeout, cancellationToken);
    }

    /// <summary>Receives a message that was sent by <see cref="SendCheckedAsync"/>, and compares its check value.</summary>
    /// <param name="endpoint">The endpoint.</param>
    /// <param name="buffer">The room for the message and the <see cref="TrailerLength"/> bytes behind it.</param>
    /// <param name="integrity">The kind of check value.</param>
    /// <param name="timeout">How long the operation may take; null for the endpoint's OperationTimeout.</param>
    /// <param name="cancellationToken">Gives up the wait.</param>
    /// <returns>The message, without its check value.</returns>
    /// <exception cref="RmaIntegrityException">The message does not match its check value: it was damaged, or was sent with another kind or with none.</exception>
    /// <exception cref="RmaException">No message could be received.</exception>
    public static ValueTask<RmaReceiveResult> ReceiveCheckedAsync(this IRmaEndpoint endpoint, RmaSlice buffer, RmaIntegrity integrity, TimeSpan? timeout = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        return new(new CheckedReceive(endpoint.ReceiveAsync(buffer, timeout, cancellationToken), buffer, integrity), 0);
    }

    /// <summary>Compares the check value when the result is taken.</summary>
    /// <remarks>Not an async method, because that would await here, and an await spins for a message that the caller may be about to request.</remarks>
    private sealed class CheckedReceive(ValueTask<RmaReceiveResult> receive, RmaSlice buffer, RmaIntegrity integrity) : IValueTaskSource<RmaReceiveResult>
    {
        public ValueTaskSourceStatus GetStatus(short token) =>
            !receive.IsCompleted ? ValueTaskSourceStatus.Pending
            : receive.IsCanceled ? ValueTaskSourceStatus.Canceled
            : receive.IsFaulted ? ValueTaskSourceStatus.Faulted
            : ValueTaskSourceStatus.Succeeded;

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
        {
            ConfiguredValueTaskAwaitable<RmaReceiveResult>.ConfiguredValueTaskAwaiter awaiter = receive.ConfigureAwait((flags & ValueTaskSourceOnCompletedFlags.UseSchedulingContext) != 0).GetAwaiter();
            if ((flags & ValueTaskSourceOnCompletedFlags.FlowExecutionContext) != 0)
                awaiter.OnCompleted(() => continuation(state));
            else
                awaiter.UnsafeOnCompleted(() => continuation(state));
        }

        public RmaReceiveResult GetResult(short token)
        {
            RmaReceiveResult result = receive.GetAwaiter().GetResult();
            Verify(buffer.Slice(0, result.Length).Span, integrity);
            return result with { Length = result.Length - TrailerLength };
        }
    }

    private static void Verify(ReadOnlySpan<byte> message, RmaIntegrity integrity)
    {
        int length = message.Length - TrailerLength;
        if (length < 0)
            throw new RmaIntegrityException($"A message of {InWords.Bytes(message.Length)} has no room for a check value", 0, message.Length, 0, OfMessage(integrity, message));
        (ulong expected, ulong found) = (BinaryPrimitives.ReadUInt64LittleEndian(message[length..]), OfMessage(integrity, message[..length]));
        if (expected != found)
            throw new RmaIntegrityException($"The {length} bytes of a message were damaged, or were sent without that check value ({integrity})", 0, length, expected, found);
    }

    private static ulong OfMessage(RmaIntegrity integrity, ReadOnlySpan<byte> message) => CheckValue.Of(integrity, message, (ulong)message.Length);

    private static void ThrowIfDifferent(IRmaEndpoint endpoint, RmaCheckedMemory local, RemoteRegion remote)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(local);
        ArgumentNullException.ThrowIfNull(remote);
        if (remote.Length != local.Buffer.Length)
            throw new ArgumentException($"The peer's memory has {InWords.Bytes(remote.Length)} with its tags, and this side's {InWords.Bytes(local.Buffer.Length)}; both must be rented with the same length and block length.", nameof(remote));
    }
}
