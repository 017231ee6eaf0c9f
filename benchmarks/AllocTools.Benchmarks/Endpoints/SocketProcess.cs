using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>
/// One process of a comparison, with a socket, as an application without this library would use it. Its conversation
/// is the same as that of <see cref="LoopProcess"/>.
/// </summary>
/// <remarks>
/// A write is a message of the given size that the target has completely read and confirmed by one byte, with a window
/// of unconfirmed messages. The target blocks in its socket, also between runs.
/// </remarks>
internal sealed class SocketProcess(LoopArguments arguments) : IDisposable
{
    /// <summary>The name in place of libfabric's provider: TCP on 127.0.0.1.</summary>
    public const string Tcp = "TCP socket";

    /// <summary>The name in place of libfabric's provider: a Unix socket.</summary>
    public const string Unix = "Unix socket";

    private readonly Socket _listener = arguments.Provider == Unix
        ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
        : new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

    private readonly byte[] _message = GC.AllocateArray<byte>(arguments.Size, pinned: true);
    private readonly byte[] _answer = GC.AllocateArray<byte>(arguments.IsPingPong ? arguments.Size : arguments.Window, pinned: true);
    private readonly Latencies _latencies = new();
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"alloctools-{Environment.ProcessId}.socket");

    /// <summary>Whether a process with these arguments is of this kind.</summary>
    public static bool IsFor(LoopArguments arguments) => arguments.Provider is Tcp or Unix;

    public int Run()
    {
        _listener.Bind(arguments.Provider == Unix ? new UnixDomainSocketEndPoint(_path) : new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen();
        Console.WriteLine(arguments.Provider == Unix ? _path : ((IPEndPoint)_listener.LocalEndPoint!).Port.ToString(CultureInfo.InvariantCulture));
        if (Console.ReadLine() is not string other)
            return 1;
        using Socket socket = arguments.IsTarget ? _listener.Accept() : Connect(other);
        if (arguments.Provider == Tcp)
            socket.NoDelay = true;
        return arguments.IsTarget ? RunTarget(socket) : RunInitiator(socket);
    }

    public void Dispose()
    {
        _listener.Dispose();
        File.Delete(_path);
    }

    private Socket Connect(string other)
    {
        Socket socket = new(_listener.AddressFamily, SocketType.Stream, _listener.ProtocolType);
        socket.Connect(arguments.Provider == Unix ? new UnixDomainSocketEndPoint(other) : new IPEndPoint(IPAddress.Loopback, int.Parse(other, CultureInfo.InvariantCulture)));
        return socket;
    }

    private int RunTarget(Socket socket)
    {
        Thread serving = new(() => ServeAsync(socket).GetAwaiter().GetResult()) { IsBackground = true };
        serving.Start();
        while (Console.ReadLine() is string line)
            Console.WriteLine(line == "go" ? "going" : "stopped");
        return 0;
    }

    private async Task ServeAsync(Socket socket)
    {
        ReadOnlyMemory<byte> answer = arguments.IsPingPong ? _message : _message.AsMemory(0, 1);
        while (await ReceiveAsync(socket, _message))
            await SendAsync(socket, answer);
    }

    private int RunInitiator(Socket socket) =>
        Initiator.Run(operations => arguments.IsPingPong ? PingPongAsync(socket, operations) : WriteAsync(socket, operations), _latencies);

    private async Task PingPongAsync(Socket socket, int operations)
    {
        _latencies.Start(operations);
        for (int i = 0; i < operations; i++)
        {
            await SendAsync(socket, _message);
            await ReceiveAsync(socket, _answer);
            _latencies.Add();
        }
    }

    private async Task WriteAsync(Socket socket, int operations)
    {
        int confirmed = 0;
        for (int written = 0; written < operations; written++)
        {
            while (written - confirmed >= arguments.Window)
                confirmed += await ReceiveSomeAsync(socket, _answer);
            await SendAsync(socket, _message);
        }
        while (confirmed < operations)
            confirmed += await ReceiveSomeAsync(socket, _answer);
    }

    /// <summary>Fills the buffer. Returns false if the other side has closed.</summary>
    private async ValueTask<bool> ReceiveAsync(Socket socket, Memory<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            int count = await ReceiveSomeAsync(socket, buffer);
            if (count == 0)
                return false;
            buffer = buffer[count..];
        }
        return true;
    }

    /// <summary>Receives with a blocking call, which completes immediately, if the loop does not use tasks.</summary>
    private ValueTask<int> ReceiveSomeAsync(Socket socket, Memory<byte> buffer) =>
        arguments.IsAsync ? socket.ReceiveAsync(buffer) : new ValueTask<int>(socket.Receive(buffer.Span));

    private async ValueTask SendAsync(Socket socket, ReadOnlyMemory<byte> buffer)
    {
        while (!buffer.IsEmpty)
            buffer = buffer[(arguments.IsAsync ? await socket.SendAsync(buffer) : socket.Send(buffer.Span))..];
    }
}
