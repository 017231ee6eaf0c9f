using System.Buffers;
using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace AllocTools.Connections.Control;

/// <summary>
/// The TCP connection next to the rings, for set-up, offers, ends and heartbeats. A frame has a length, a kind and up
/// to 8 KiB.
/// </summary>
/// <remarks>Sending never blocks: frames that TCP does not accept are queued, which the protocol bounds, and are sent later.</remarks>
internal sealed class ControlConnection(Stream stream, Socket socket, TimeProvider time) : IDisposable
{
    /// <summary>The longest payload of a frame, in bytes.</summary>
    public const int MostPayload = 8192;

    public static readonly byte[] HeartbeatFrame = Frame(ControlKind.Heartbeat, []);
    public static readonly byte[] StopFrame = Frame(ControlKind.Stop, []);
    public static readonly byte[] AbortFrame = Frame(ControlKind.Abort, []);
    public static readonly byte[] DoneFrame = Frame(ControlKind.Done, []);

    private const int HeaderLength = 3;

    /// <summary>How long the peer may take to close the connection after this side.</summary>
    private static readonly TimeSpan LingerTime = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private readonly Queue<byte[]> _out = new();
    private readonly byte[] _header = new byte[HeaderLength];
    private readonly CancellationTokenSource _lingering = new();
    private byte[] _payload = [];
    private long _lastReceived = time.GetTimestamp();
    private bool _isSending;
    private bool _isClosing;
    private bool _hasReadEnded;
    private bool _disposed;

    /// <summary>The peer's certificate; null without TLS, or if it did not present one.</summary>
    public X509Certificate2? RemoteCertificate => (stream as SslStream)?.RemoteCertificate is { } certificate ? certificate as X509Certificate2 ?? new X509Certificate2(certificate) : null;

    /// <summary>How long the peer has been silent.</summary>
    public TimeSpan Silence => time.GetElapsedTime(Volatile.Read(ref _lastReceived));

    /// <summary>Called when something else has arrived from the peer.</summary>
    public void NoteAlive() => Volatile.Write(ref _lastReceived, time.GetTimestamp());

    /// <summary>Creates a frame, including its header.</summary>
    public static byte[] Frame(ControlKind kind, ReadOnlySpan<byte> payload)
    {
        byte[] frame = new byte[HeaderLength + payload.Length];
        frame[0] = (byte)kind;
        BinaryPrimitives.WriteUInt16LittleEndian(frame.AsSpan(1), (ushort)payload.Length);
        payload.CopyTo(frame.AsSpan(HeaderLength));
        return frame;
    }

    /// <summary>Reads a frame.</summary>
    /// <returns>Its kind and payload, which is valid until the next call; <see cref="ControlKind.None"/> if the peer has closed the connection between two frames.</returns>
    /// <exception cref="RmaConnectionException">It is longer than a frame may be, or ends within one.</exception>
    /// <exception cref="IOException">The connection is broken.</exception>
    public async ValueTask<(ControlKind Kind, ReadOnlyMemory<byte> Payload)> ReadAsync(CancellationToken cancellationToken)
    {
        int read = await stream.ReadAtLeastAsync(_header, HeaderLength, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        if (read == 0)
            return default;
        var kind = (ControlKind)_header[0];
        // The kind is checked before the length: other data may be HTTP or TLS, whose sender waits for an answer.
        if (kind is ControlKind.None or > ControlKind.Damaged)
            throw new RmaConnectionException($"The peer sent a frame of unknown kind {(int)kind} on the control connection. {LooksLike(_header[0])}");
        if (read < HeaderLength)
            throw new RmaConnectionException("The peer closed the control connection in the middle of a frame.");
        int length = BinaryPrimitives.ReadUInt16LittleEndian(_header.AsSpan(1));
        if (length > MostPayload)
            throw new RmaConnectionException($"The peer announced a frame of {length} bytes on the control connection; a frame must have at most {MostPayload}. The peer does not use AllocTools, or the data is damaged.");
        if (length > _payload.Length)
            _payload = new byte[length];
        if (await stream.ReadAtLeastAsync(_payload.AsMemory(0, length), length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false) < length)
            throw new RmaConnectionException("The peer closed the control connection in the middle of a frame.");
        Volatile.Write(ref _lastReceived, time.GetTimestamp());
        return (kind, _payload.AsMemory(0, length));
    }

    /// <summary>Guesses what else it may be: a TLS record (an alert or a handshake), or a line of HTTP.</summary>
    private static string LooksLike(byte first) => first switch
    {
        21 or 22 => "It looks like TLS: only one side uses TLS, or the peer uses sockets. Check that the peer calls UseRma, and that the port is right.",
        >= (byte)'A' and <= (byte)'Z' => "It looks like HTTP over sockets, without AllocTools. Check that the peer calls UseRma, and that the port is right.",
        _ => "The peer does not use AllocTools or uses another version of it, or only one side uses TLS.",
    };

    /// <summary>Releases the memory of the set-up's frames, because later ones are short.</summary>
    public void EndSetUp() => _payload = [];

    /// <summary>Sends a frame, and waits until TCP has accepted it.</summary>
    public Task SendAsync(byte[] frame, CancellationToken cancellationToken) => stream.WriteAsync(frame, cancellationToken).AsTask();

    /// <summary>Sends a frame after earlier ones. It does not wait, and never throws.</summary>
    public void Post(byte[] frame)
    {
        lock (_gate)
        {
            if (_isClosing)
                return;
            _out.Enqueue(frame);
            if (_isSending)
                return;
            _isSending = true;
        }
        _ = SendAllAsync();
    }

    /// <summary>Sends a heartbeat, unless something else waits to be sent.</summary>
    public void PostIfIdle(byte[] frame)
    {
        lock (_gate)
        {
            if (_isSending)
                return;
        }
        Post(frame);
    }

    /// <summary>
    /// Closes the connection once everything is sent. Data that the peer sends until it closes the connection, too, is
    /// still read for a while: closing a socket with unread data would make the system drop the last sent data.
    /// </summary>
    public void Close()
    {
        lock (_gate)
        {
            if (_isClosing)
                return;
            _isClosing = true;
            if (_isSending)
                return;
        }
        EndSending();
    }

    /// <summary>Called when nothing more is read.</summary>
    public void NoteReadEnded()
    {
        lock (_gate)
        {
            _hasReadEnded = true;
            if (!_isClosing || _isSending)
                return;
        }
        Dispose();
    }

    /// <summary>Ends the connection now.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = _isClosing = true;
        }
        _lingering.Cancel();
        stream.Dispose();
        socket.Dispose();
    }

    private async Task SendAllAsync()
    {
        try
        {
            while (true)
            {
                byte[]? frame;
                lock (_gate)
                {
                    if (!_out.TryDequeue(out frame))
                    {
                        _isSending = false;
                        if (!_isClosing)
                            return;
                    }
                }
                if (frame is null)
                    break;
                await stream.WriteAsync(frame).ConfigureAwait(false);
            }
            EndSending();
        }
        catch (Exception)
        {
            // All exceptions are caught, because the reading side detects and reports that the connection has ended.
            Dispose();
        }
    }

    private void EndSending()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            if (!_hasReadEnded && TryShutDown())
            {
                _ = DisposeLaterAsync();
                return;
            }
        }
        Dispose();
    }

    private bool TryShutDown()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Send);
            return true;
        }
        catch (SocketException)
        {
            // The peer has closed the connection.
            return false;
        }
    }

    private async Task DisposeLaterAsync()
    {
        await Task.Delay(LingerTime, time, _lingering.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Dispose();
    }
}

/// <summary>The kinds of frames of the control connection.</summary>
internal enum ControlKind : byte
{
    /// <summary>No frame: the connection has ended.</summary>
    None = 0,

    /// <summary>The connecting side: magic, version, process, transports.</summary>
    Hello = 1,

    /// <summary>The listening side: magic, version, process, transport, block.</summary>
    Welcome = 2,

    /// <summary>The connecting side's block.</summary>
    Block = 3,

    /// <summary>The connection is refused, with the reason.</summary>
    Refused = 4,

    /// <summary>The sender is alive.</summary>
    Heartbeat = 5,

    /// <summary>The sender reads no more.</summary>
    Stop = 6,

    /// <summary>The sender has aborted the connection.</summary>
    Abort = 7,

    /// <summary>The sender writes no more into the receiver's memory.</summary>
    Done = 8,

    /// <summary>A ring of the sender, into which the receiver must write from now on; empty for the first ring.</summary>
    Offer = 9,

    /// <summary>The sender has received damaged bytes, and has ended the connection: where they were, and both check values.</summary>
    Damaged = 10,
}
