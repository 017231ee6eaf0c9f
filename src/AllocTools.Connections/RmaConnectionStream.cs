using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace AllocTools.Connections;

/// <summary>A connection as a stream. Disposing it disposes the connection.</summary>
/// <remarks>
/// Unlike the pipe, a write fails where the peer reads no more: from the second one on, as with a socket whose peer has closed it. The first one is lost, and
/// the end of the stream that is read says so; by that HttpClient tells a connection that was closed while it was idle, and sends the request again.
/// </remarks>
internal sealed class RmaConnectionStream(RmaConnection connection) : Stream
{
    private bool _hasLost;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        PipeReader input = connection.Transport.Input;
        ReadResult result = await input.ReadAsync(cancellationToken).ConfigureAwait(false);
        if (result.IsCanceled)
            throw new OperationCanceledException("The read was cancelled (CancelPendingRead).");
        ReadOnlySequence<byte> bytes = result.Buffer;
        if (bytes.Length > buffer.Length)
            bytes = bytes.Slice(0, buffer.Length);
        int length = (int)bytes.Length;
        if (length > 0)
            bytes.CopyTo(buffer.Span);
        // A read of nothing waits for something, and takes nothing.
        input.AdvanceTo(bytes.End);
        return length;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer, offset, count, CancellationToken.None).GetAwaiter().GetResult();

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        Check(await connection.Transport.Output.WriteAsync(buffer, cancellationToken).ConfigureAwait(false), loses: !buffer.IsEmpty);

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override void Write(byte[] buffer, int offset, int count) => WriteAsync(buffer, offset, count, CancellationToken.None).GetAwaiter().GetResult();

    public override async Task FlushAsync(CancellationToken cancellationToken) =>
        Check(await connection.Transport.Output.FlushAsync(cancellationToken).ConfigureAwait(false), loses: false);

    public override void Flush() => FlushAsync(CancellationToken.None).GetAwaiter().GetResult();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override async ValueTask DisposeAsync()
    {
        await connection.DisposeAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    protected override void Dispose(bool disposing)
    {
        // As a socket, which goes on sending what was written. Never throws.
        if (disposing)
            _ = connection.DisposeAsync().AsTask();
        base.Dispose(disposing);
    }

    private void Check(FlushResult result, bool loses)
    {
        if (result.IsCanceled)
            throw new OperationCanceledException("The flush was cancelled (CancelPendingFlush).");
        if (!result.IsCompleted)
            return;
        if (connection.Error is not null || (loses && _hasLost))
            throw new IOException("The peer reads no more, or the connection is over.", connection.Error);
        _hasLost |= loses;
    }
}
