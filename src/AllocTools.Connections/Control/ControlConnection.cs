using System.Buffers;
using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace AllocTools.Connections.Control;

/// <summary>The TCP connection beside the rings: set-up, offers, ends, signs of life. Frames of a length, a kind and up to 8 KiB.</summary>
/// <remarks>Sending never blocks: frames that TCP does not take are kept, which the protocol bounds, and go once it does.</remarks>
internal sealed class ControlConnection(Stream stream, Socket socket, TimeProvider time) : IDisposable
{
    /// <summary>The longest payload of a frame, in bytes.</summary>
    public const int MostPayload = 8192;

    public static readonly byte[] HeartbeatFrame = Frame(ControlKind.Heartbeat, []);
    public static readonly byte[] StopFrame = Frame(ControlKind.Stop, []);
    public static readonly byte[] AbortFrame = Frame(ControlKind.Abort, []);
    public static readonly byte[] DoneFrame = Frame(ControlKind.Done, []);

    private const int HeaderLength = 3;

    /// <summary>How long the peer has to end the connection after this side.</summary>
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

    /// <summary>The peer's certificate; null without TLS, or where it has shown none.</summary>
    public X509Certificate2? RemoteCertificate => (stream as SslStream)?.RemoteCertificate is { } certificate ? certificate as X509Certificate2 ?? new X509Certificate2(certificate) : null;

    /// <summary>How long nothing has come from the peer.</summary>
    public TimeSpan Silence => time.GetElapsedTime(Volatile.Read(ref _lastReceived));

    /// <summary>Something else has come from the peer.</summary>
    public void NoteAlive() => Volatile.Write(ref _lastReceived, time.GetTimestamp());

    /// <summary>A frame, with room for its header.</summary>
    public static byte[] Frame(ControlKind kind, ReadOnlySpan<byte> payload)
    {
        byte[] frame = new byte[HeaderLength + payload.Length];
        frame[0] = (byte)kind;
        BinaryPrimitives.WriteUInt16LittleEndian(frame.AsSpan(1), (ushort)payload.Length);
        payload.CopyTo(frame.AsSpan(HeaderLength));
        return frame;
    }

    /// <summary>Reads a frame.</summary>
    /// <returns>Its kind and payload, which is valid until the next call; <see cref="ControlKind.None"/> where the peer has ended the connection between two frames.</returns>
    /// <exception cref="RmaConnectionException">It is longer than a frame may be, or ends within one.</exception>
    /// <exception cref="IOException">The connection is broken.</exception>
    public async ValueTask<(ControlKind Kind, ReadOnlyMemory<byte> Payload)> ReadAsync(CancellationToken cancellationToken)
    {
        int read = await stream.ReadAtLeastAsync(_header, HeaderLength, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        if (read == 0)
            return default;
        var kind = (ControlKind)_header[0];
        // Before its length: what begins otherwise may be HTTP or TLS, and wait for an answer.
        if (kind is ControlKind.None or > ControlKind.Offer)
            throw new RmaConnectionException($"The peer has sent a frame of kind {(int)kind} on the control connection, which this side does not know. {LooksLike(_header[0])}");
        if (read < HeaderLength)
            throw new RmaConnectionException("The peer has ended the control connection within a frame.");
        int length = BinaryPrimitives.ReadUInt16LittleEndian(_header.AsSpan(1));
        if (length > MostPayload)
            throw new RmaConnectionException($"The peer has announced a frame of {length} bytes on the control connection; {MostPayload} are the most. It is no connection of AllocTools, or damaged.");
        if (length > _payload.Length)
            _payload = new byte[length];
        if (await stream.ReadAtLeastAsync(_payload.AsMemory(0, length), length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false) < length)
            throw new RmaConnectionException("The peer has ended the control connection within a frame.");
        Volatile.Write(ref _lastReceived, time.GetTimestamp());
        return (kind, _payload.AsMemory(0, length));
    }

    /// <summary>What else it may be: a record of TLS (an alert or a handshake), or a line of HTTP.</summary>
    private static string LooksLike(byte first) => first switch
    {
        21 or 22 => "It looks like TLS: one side has TLS and the other has not, or the peer goes over sockets (has it UseRma, and is this its port?).",
        >= (byte)'A' and <= (byte)'Z' => "It looks like HTTP over sockets, without AllocTools: has the peer UseRma, and is this its port?",
        _ => "It is no connection of AllocTools, another version of it, or one side has TLS and the other has not.",
    };

    /// <summary>Gives the memory of the set-up's frames back: later ones are short.</summary>
    public void EndSetUp() => _payload = [];

    /// <summary>Sends a frame, and waits until TCP has taken it.</summary>
    public Task SendAsync(byte[] frame, CancellationToken cancellationToken) => stream.WriteAsync(frame, cancellationToken).AsTask();

    /// <summary>Sends a frame once those before it are sent. Does not wait, and never throws.</summary>
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

    /// <summary>A sign of life, where nothing else waits to be sent.</summary>
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
    /// Ends the connection once all is sent. What the peer sends until it does so, too, is still read, for a while: a socket that is closed with something unread would have the
    /// system drop what was sent last.
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

    /// <summary>Nothing more is read.</summary>
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
            // Of whatever kind: the reading side finds that the connection is over, and says so.
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
            // The peer has cut it.
            return false;
        }
    }

    private async Task DisposeLaterAsync()
    {
        await Task.Delay(LingerTime, time, _lingering.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Dispose();
    }
}

/// <summary>What a frame of the control connection is.</summary>
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

    /// <summary>No connection comes about; why.</summary>
    Refused = 4,

    /// <summary>The sender is alive.</summary>
    Heartbeat = 5,

    /// <summary>The sender reads no more.</summary>
    Stop = 6,

    /// <summary>The sender has aborted the connection.</summary>
    Abort = 7,

    /// <summary>The sender writes no more into the receiver's memory.</summary>
    Done = 8,

    /// <summary>A ring of the sender's that the receiver is to write into from now on; empty for the first one.</summary>
    Offer = 9,
}
