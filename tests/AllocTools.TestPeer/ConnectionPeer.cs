using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Threading.Channels;
using AllocTools.Connections;
using AllocTools.HostMemory;
using AllocTools.Mpi;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>The other side of connections. It follows the lines on its standard input, and answers each with a line.</summary>
internal static class ConnectionPeer
{
    public static async Task<int> RunAsync(string fabric, string[] options)
    {
        const string Ucx = "ucx:";
        using IRmaContext context = fabric.StartsWith(Ucx, StringComparison.Ordinal) ? UcxFabric.Open(fabric[Ucx.Length..]) : Fabric.Open(fabric);
        return await RunAsync(context, Console.In, Console.Out, options);
    }

    /// <summary>Runs as a rank of an MPI job, which gets its lines over a socket.</summary>
    public static async Task<int> RunRankAsync(int port)
    {
        using TcpClient client = new();
        client.Connect(IPAddress.Loopback, port);
        using StreamReader lines = new(client.GetStream());
        await using StreamWriter answers = new(client.GetStream()) { AutoFlush = true };
        using IRmaContext context = new MpiProvider(new MpiOptions { StartTimeout = TestTime.Seconds(60) }).Open();
        int rank;
        using (var endpoint = (MpiEndpoint)context.OpenEndpoint())
            rank = endpoint.Rank;
        await answers.WriteLineAsync($"{rank} {Environment.ProcessId}");
        return await RunAsync(context, lines, answers, []);
    }

    private static async Task<int> RunAsync(IRmaContext context, TextReader lines, TextWriter answers, string[] options)
    {
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        // Its log about connections that end is shown if a test fails.
        using ILoggerFactory logging = LoggerFactory.Create(static b => b.SetMinimumLevel(LogLevel.Debug).AddConsole(static o => o.LogToStandardErrorThreshold = LogLevel.Trace));
        // With "local", processes on one host use this transport instead.
        using IRmaContext? near = options.Contains("local") ? Fabric.Open(Fabric.SharedMemoryByAddress) : null;
        await using RmaMemoryPool<HostProvider>? nearPool = near is null ? null : new RmaMemoryPool<HostProvider>(near, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        await using RmaConnections? nearConnections = nearPool is null ? null : new RmaConnections(nearPool, null, logging);
        await using var connections = new RmaConnections(pool, new RmaConnectionOptions
        {
            HeartbeatInterval = TestTime.Seconds(options.Contains("patient") ? 5 : 0.2),
            PeerTimeout = TestTime.Seconds(options.Contains("patient") ? 60 : 3),
        }, logging, local: nearConnections);
        RmaConnectionListener? listener = null;
        RmaConnection? connection = null;
        List<Task> closing = [];
        var endings = Channel.CreateUnbounded<string>();
        while (await lines.ReadLineAsync() is { } line)
        {
            string answer;
            switch (line.Split(' '))
            {
                case ["listen", var what, .. var where]:
                    listener = connections.Listen(new RmaEndPoint(where is [var address] ? IPAddress.Parse(address) : IPAddress.Loopback, 0));
                    _ = AcceptAsync(listener, what, endings.Writer);
                    answer = ((IPEndPoint)listener.EndPoint).Port.ToString(CultureInfo.InvariantCulture);
                    break;
                case ["connect", var port, .. var where]:
                    answer = await ConnectAsync(where is [var host] ? IPAddress.Parse(host) : IPAddress.Loopback, port);
                    break;
                case ["take", var count]:
                    answer = await TakeAsync(connection!, int.Parse(count, CultureInfo.InvariantCulture));
                    if (answer.StartsWith("error ", StringComparison.Ordinal))
                        LeaveConnection();
                    break;
                case ["echo", var count]:
                    answer = await EchoAsync(connection!, int.Parse(count, CultureInfo.InvariantCulture));
                    break;
                case ["ended"]:
                    answer = await endings.Reader.ReadAsync();
                    break;
                case ["close"]:
                    await connection!.Output.CompleteAsync();
                    answer = $"{(await connection.Input.ReadAsync()).IsCompleted}";
                    await connection.DisposeAsync();
                    break;
                case ["fail"]:
                    answer = await FailAsync(connection!.Input, connection.Output);
                    LeaveConnection();
                    break;
                case ["dispose"]:
                    await connections.DisposeAsync();
                    answer = "disposed";
                    break;
                case ["end"]:
                    if (connection is not null)
                        await connection.DisposeAsync();
                    await Task.WhenAll(closing);
                    await connections.DisposeAsync();
                    answer = "ended";
                    break;
                case ["left"]:
                    RmaPoolStatistics now = pool.GetStatistics();
                    answer = $"{connections.Count} {now.RentedBuffers} {now.QuarantinedBuffers}";
                    break;
                default:
                    answer = $"unknown: {line}";
                    break;
            }
            await answers.WriteLineAsync(answer);
            await answers.FlushAsync();
        }
        if (listener is not null)
            await listener.DisposeAsync();
        return 0;

        // Ending the connection may take longer than reporting its error.
        void LeaveConnection()
        {
            closing.Add(connection!.DisposeAsync().AsTask());
            connection = null;
        }

        async Task<string> ConnectAsync(IPAddress address, string port)
        {
            try
            {
                connection = await connections.ConnectAsync(new IPEndPoint(address, int.Parse(port, CultureInfo.InvariantCulture)));
                return connection.Provider;
            }
            catch (Exception e) when (e is IOException or SocketException or TimeoutException)
            {
                return $"error {e.GetType().Name}: {e.Message}";
            }
        }
    }

    /// <summary>Reads some of the bytes that the other side sends without end.</summary>
    private static async Task<string> TakeAsync(RmaConnection connection, int count)
    {
        try
        {
            ReadResult read = await connection.Input.ReadAtLeastAsync(count);
            connection.Input.AdvanceTo(read.Buffer.End);
            return read.Buffer.Length >= count ? "taken" : "ended";
        }
        catch (ConnectionResetException e)
        {
            return $"error {e.Message}";
        }
    }

    /// <summary>Sends bytes and checks that the other side sends them back.</summary>
    private static async Task<string> EchoAsync(RmaConnection connection, int count)
    {
        byte[] sent = RandomNumberGenerator.GetBytes(count);
        Task writing = Task.Run(async () => await connection.Output.WriteAsync(sent));
        ReadResult read = await connection.Input.ReadAtLeastAsync(count);
        bool isSame = read.Buffer.ToArray().AsSpan().SequenceEqual(sent);
        connection.Input.AdvanceTo(read.Buffer.End);
        await writing;
        return isSame ? "same" : "different";
    }

    /// <summary>Reads until that fails, which ends both directions.</summary>
    private static async Task<string> FailAsync(PipeReader input, PipeWriter output)
    {
        try
        {
            while ((await input.ReadAsync()) is { IsCompleted: false } read)
                input.AdvanceTo(read.Buffer.End);
            return "the stream has ended";
        }
        catch (ConnectionResetException e)
        {
            return (await output.WriteAsync(new byte[1])).IsCompleted ? e.Message : $"writes go on after: {e.Message}";
        }
    }

    private static async Task AcceptAsync(RmaConnectionListener listener, string what, ChannelWriter<string> endings)
    {
        while (await listener.AcceptAsync() is { } connection)
            _ = ServeAsync(connection, what, endings);
    }

    private static async Task ServeAsync(ConnectionContext connection, string what, ChannelWriter<string> endings)
    {
        await using (connection)
        {
            try
            {
                if (what == "echo")
                {
                    await EchoAsync(connection.Transport);
                    endings.TryWrite("the stream has ended");
                    return;
                }
                await SendForeverAsync(connection.Transport.Output);
                // Writes end with the connection; reads report the reason.
                endings.TryWrite(await FailAsync(connection.Transport.Input, connection.Transport.Output));
            }
            catch (Exception e) when (e is ConnectionResetException or ConnectionAbortedException)
            {
                // The other side is gone, as tests intend.
                endings.TryWrite(e.Message);
            }
        }
    }

    private static async Task EchoAsync(IDuplexPipe transport)
    {
        while (true)
        {
            ReadResult read = await transport.Input.ReadAsync();
            foreach (ReadOnlyMemory<byte> part in read.Buffer)
                await transport.Output.WriteAsync(part);
            transport.Input.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
                break;
        }
        await transport.Output.CompleteAsync();
    }

    private static async Task SendForeverAsync(PipeWriter output)
    {
        byte[] bytes = new byte[10_000];
        while (!(await output.WriteAsync(bytes)).IsCompleted)
        {
        }
    }
}
