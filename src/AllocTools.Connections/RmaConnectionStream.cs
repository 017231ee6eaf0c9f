using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <summary>A connection as a stream. Disposing it disposes the connection.</summary>
/// <remarks>
/// <para>
/// Unlike with the pipe, a write fails if the peer no longer reads: from the second write on, as with a socket that
/// the peer has closed. The first write is lost, which the end of the read stream indicates: HttpClient detects in
/// this way that a connection was closed while it was idle, and sends the request again.
/// </para>
/// <para>
/// Like a socket, it may be disposed during a read and a write. A pending call fails, and the memory that a call uses
/// is released when the last call has returned. If a write is cut off in this way, the connection is aborted, because
/// the peer must not mistake the part for the whole.
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
            // A read into an empty buffer waits for data, and consumes none.
            input.AdvanceTo(bytes.End);
            return length;
        }
        catch (ConnectionAbortedException e)
        {
            // ConnectionAbortedException is an OperationCanceledException, so it would be mistaken for a cancellation.
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
        // Like a socket, this does not wait, and written data is still sent. It never throws.
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

    /// <summary>Ends reading, either immediately or when a pending read returns, which may use memory of the ring until then.</summary>
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

    /// <summary>Called when one of the two directions is no longer used. The second call disposes the connection.</summary>
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

    /// <summary>Guards the use of one direction: one call at a time, and none after it was closed.</summary>
    /// <remarks>It is a mutable struct, so it must not be copied.</remarks>
    private struct Use(string name)
    {
        private const int Idle = 0;
        private const int Busy = 1;
        private const int Closed = 2;
        private const int BusyAndClosing = 3;

        private int _state;

        /// <summary>The state in which closing has found the direction.</summary>
        public enum Closing
        {
            /// <summary>It was closed before.</summary>
            Before = 0,

            /// <summary>No call was using it: the caller must complete the direction.</summary>
            AtOnce = 1,

            /// <summary>A call is using it, and completes the direction when it returns.</summary>
            WithTheCall = 2,
        }

        /// <summary>Whether it is closed while a call is still using it.</summary>
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

        /// <returns>True: it was closed meanwhile, and the caller must complete the direction.</returns>
        public bool End() => Interlocked.CompareExchange(ref _state, Idle, Busy) == BusyAndClosing && Interlocked.Exchange(ref _state, Closed) == BusyAndClosing;

        public Closing Close()
        {
            if (Interlocked.CompareExchange(ref _state, BusyAndClosing, Busy) == Busy)
                return Closing.WithTheCall;
            if (Interlocked.CompareExchange(ref _state, Closed, Idle) == Idle)
                return Closing.AtOnce;
            // A call has begun or ended meanwhile, or the direction is already closed.
            return Volatile.Read(ref _state) >= Closed ? Closing.Before : Close();
        }
    }
}
