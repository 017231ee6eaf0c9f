using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>A connection as a stream. Disposing it disposes the connection.</summary>
/// <remarks>
/// <para>
/// Unlike the pipe, a write fails where the peer reads no more: from the second one on, as with a socket whose peer has closed it. The first one is lost, and
/// the end of the stream that is read says so; by that HttpClient tells a connection that was closed while it was idle, and sends the request again.
/// </para>
/// <para>
/// As a socket's, it may be disposed while it is read and written: a call that is pending fails, and the memory that a call works on is given back when the last
/// one has returned. A write that is cut so aborts the connection, since the peer must not take the part for the whole.
/// </para>
/// </remarks>
internal sealed class RmaConnectionStream(RmaConnection connection) : Stream
{
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Use _reading = new("read");
    private Use _writing = new("write");
    private int _open = 2;
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
        _reading.Begin();
        try
        {
            PipeReader input = connection.Transport.Input;
            ReadResult result = await input.ReadAsync(cancellationToken).ConfigureAwait(false);
            if (_reading.IsClosing)
                throw Disposed();
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
        catch (ConnectionAbortedException e)
        {
            // Which would be taken for a cancellation.
            throw new IOException(e.Message, e);
        }
        finally
        {
            if (_reading.End())
                CompleteReading();
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer, offset, count, CancellationToken.None).GetAwaiter().GetResult();

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _writing.Begin();
        try
        {
            Check(await connection.Transport.Output.WriteAsync(buffer, cancellationToken).ConfigureAwait(false), loses: !buffer.IsEmpty);
        }
        finally
        {
            if (_writing.End())
                CloseOne();
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        ValidateBufferArguments(buffer, offset, count);
        return WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    }

    public override void Write(byte[] buffer, int offset, int count) => WriteAsync(buffer, offset, count, CancellationToken.None).GetAwaiter().GetResult();

    public override async Task FlushAsync(CancellationToken cancellationToken)
    {
        _writing.Begin();
        try
        {
            Check(await connection.Transport.Output.FlushAsync(cancellationToken).ConfigureAwait(false), loses: false);
        }
        finally
        {
            if (_writing.End())
                CloseOne();
        }
    }

    public override void Flush() => FlushAsync(CancellationToken.None).GetAwaiter().GetResult();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override async ValueTask DisposeAsync()
    {
        CloseBoth();
        await _closed.Task.ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    protected override void Dispose(bool disposing)
    {
        // As a socket, which goes on sending what was written. Never throws.
        if (disposing)
            CloseBoth();
        base.Dispose(disposing);
    }

    private void CloseBoth()
    {
        switch (_writing.Close())
        {
            case Use.Closing.AtOnce:
                CloseOne();
                break;
            case Use.Closing.WithTheCall:
                connection.EndUnwritten();
                break;
        }
        CloseReading();
    }

    /// <summary>Ends the reading, at once or with the read that is under way: what that has of the ring is its own until it returns.</summary>
    internal void CloseReading()
    {
        switch (_reading.Close())
        {
            case Use.Closing.AtOnce:
                CompleteReading();
                break;
            case Use.Closing.WithTheCall:
                connection.Transport.Input.CancelPendingRead();
                break;
        }
    }

    private void CompleteReading()
    {
        connection.Input.Complete();
        CloseOne();
    }

    /// <summary>One of the two directions is used no more; with the second one the connection ends.</summary>
    private void CloseOne()
    {
        if (Interlocked.Decrement(ref _open) == 0)
            _ = DisposeConnectionAsync();
    }

    private async Task DisposeConnectionAsync()
    {
        try
        {
            await connection.DisposeAsync().ConfigureAwait(false);
        }
        finally
        {
            _closed.TrySetResult();
        }
    }

    private void Check(FlushResult result, bool loses)
    {
        if (_writing.IsClosing)
            throw Disposed();
        if (result.IsCanceled)
            throw new OperationCanceledException("The flush was cancelled (CancelPendingFlush).");
        if (!result.IsCompleted)
            return;
        if (connection.Error is not null || (loses && _hasLost))
            throw new IOException("The peer no longer reads, or the connection has ended.", connection.Error);
        _hasLost |= loses;
    }

    private static IOException Disposed() => new("The stream was disposed while the call was pending.", new ObjectDisposedException(nameof(RmaConnectionStream)));

    /// <summary>The use of one direction: one call at a time, and none after it was closed.</summary>
    /// <remarks>Mutable: it stays where it is.</remarks>
    private struct Use(string name)
    {
        private const int Idle = 0;
        private const int Busy = 1;
        private const int Closed = 2;
        private const int BusyAndClosing = 3;

        private int _state;

        /// <summary>What closing has found.</summary>
        public enum Closing
        {
            /// <summary>It was closed before.</summary>
            Before = 0,

            /// <summary>No call used it: the caller goes on with the end.</summary>
            AtOnce = 1,

            /// <summary>A call uses it, which goes on with the end when it returns.</summary>
            WithTheCall = 2,
        }

        /// <summary>It is closed, and a call is still using it.</summary>
        public readonly bool IsClosing => Volatile.Read(in _state) == BusyAndClosing;

        public void Begin()
        {
            int before = Interlocked.CompareExchange(ref _state, Busy, Idle);
            if (before == Idle)
                return;
            if (before == Busy)
                throw new InvalidOperationException($"A {name} of this connection is pending already.");
            throw new ObjectDisposedException(nameof(RmaConnectionStream));
        }

        /// <returns>True: it was closed meanwhile, and the caller goes on with the end.</returns>
        public bool End() => Interlocked.CompareExchange(ref _state, Idle, Busy) == BusyAndClosing && Interlocked.Exchange(ref _state, Closed) == BusyAndClosing;

        public Closing Close()
        {
            if (Interlocked.CompareExchange(ref _state, BusyAndClosing, Busy) == Busy)
                return Closing.WithTheCall;
            if (Interlocked.CompareExchange(ref _state, Closed, Idle) == Idle)
                return Closing.AtOnce;
            // A call has begun or ended meanwhile, or it is closed.
            return Volatile.Read(ref _state) >= Closed ? Closing.Before : Close();
        }
    }
}
