using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using AllocTools.Benchmarks.Endpoints;
using AllocTools.Connections;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Regions;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Benchmarks.Connections;

/// <summary>
/// One process of a comparison, with a connection over registered memory. Its conversation is the same as that of
/// <see cref="SocketProcess"/>.
/// </summary>
internal sealed class ConnectionProcess(LoopArguments arguments)
{
    private const string Prefix = "connection;";

    private readonly byte[] _message = new byte[arguments.Size];
    private readonly Latencies _latencies = new();

    /// <summary>Returns a name in place of libfabric's provider: a connection over it.</summary>
    public static string Over(string provider) => Prefix + provider;

    /// <summary>Whether a process with these arguments is of this kind.</summary>
    public static bool IsFor(LoopArguments arguments) => arguments.Provider.StartsWith(Prefix, StringComparison.Ordinal);

    public async Task<int> RunAsync()
    {
        string provider = arguments.Provider[Prefix.Length..];
        var options = new LibfabricOptions { Provider = provider, Node = provider == "shm" ? null : "127.0.0.1" };
        if (arguments.SpinTime is int spin)
            options.Endpoint.SpinTime = TimeSpan.FromMicroseconds(spin);
        using IRmaContext context = new LibfabricProvider(options).Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
        await using var connections = new RmaConnections(pool, new RmaConnectionOptions { Continuations = arguments.IsInline ? RmaContinuations.Inline : RmaContinuations.ThreadPool });
        await using RmaConnectionListener listener = connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));
        Console.WriteLine(((IPEndPoint)listener.EndPoint).Port.ToString(CultureInfo.InvariantCulture));
        if (Console.ReadLine() is not string other)
            return 1;
        await using ConnectionContext connection = arguments.IsTarget
            ? (await listener.AcceptAsync())!
            : await connections.ConnectAsync(new IPEndPoint(IPAddress.Loopback, int.Parse(other, CultureInfo.InvariantCulture)));
        if (!arguments.IsTarget)
        {
            using RmaBuffer pooled = pool.Rent(arguments.Size);
            ReadOnlyMemory<byte> message = arguments.Kind == LoopKind.PoolStream ? pooled.Memory : _message;
            return Initiator.Run(operations => arguments.IsPingPong ? PingPongAsync(connection.Transport, operations) : WriteAsync(connection.Transport, message, operations), _latencies);
        }
        Task serving = ServeAsync(connection.Transport);
        while (Console.ReadLine() is string line)
        {
            if (serving.IsFaulted)
                await serving;
            Console.WriteLine(line == "go" ? "going" : "stopped");
        }
        return 0;
    }

    private async Task ServeAsync(IDuplexPipe transport)
    {
        ReadOnlyMemory<byte> answer = arguments.IsPingPong ? _message : _message.AsMemory(0, 1);
        while (await ReceiveAsync(transport.Input, arguments.Size))
            await transport.Output.WriteAsync(answer);
    }

    private async Task PingPongAsync(IDuplexPipe transport, int operations)
    {
        _latencies.Start(operations);
        for (int i = 0; i < operations; i++)
        {
            await transport.Output.WriteAsync(_message);
            await ReceiveAsync(transport.Input, arguments.Size);
            _latencies.Add();
        }
    }

    private async Task WriteAsync(IDuplexPipe transport, ReadOnlyMemory<byte> message, int operations)
    {
        int confirmed = 0;
        for (int written = 0; written < operations; written++)
        {
            while (written - confirmed >= arguments.Window)
                confirmed += await ReceiveSomeAsync(transport.Input);
            await transport.Output.WriteAsync(message);
        }
        while (confirmed < operations)
            confirmed += await ReceiveSomeAsync(transport.Input);
    }

    /// <summary>Reads a message, like a consumer that touches each byte. Returns false if the other side has closed.</summary>
    private async ValueTask<bool> ReceiveAsync(PipeReader input, int length)
    {
        while (length > 0)
        {
            ReadResult read = await input.ReadAsync();
            if (read.IsCompleted && read.Buffer.IsEmpty)
                return false;
            ReadOnlySequence<byte> bytes = read.Buffer.Length > length ? read.Buffer.Slice(0, length) : read.Buffer;
            bytes.CopyTo(_message);
            length -= (int)bytes.Length;
            input.AdvanceTo(bytes.End);
        }
        return true;
    }

    private static async ValueTask<int> ReceiveSomeAsync(PipeReader input)
    {
        ReadResult read = await input.ReadAsync();
        int length = (int)read.Buffer.Length;
        input.AdvanceTo(read.Buffer.End);
        return length;
    }
}
