using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using AllocTools.Connections;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>The other side of connections. It does what lines on its standard input say; each is answered by one line.</summary>
internal static class ConnectionPeer
{
    public static async Task<int> RunAsync(string fabric, string[] options)
    {
        const string Ucx = "ucx:";
        using IRmaContext context = fabric.StartsWith(Ucx, StringComparison.Ordinal) ? UcxFabric.Open(fabric[Ucx.Length..]) : Fabric.Open(fabric);
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        // What it says of connections that end is shown where a test fails.
        using ILoggerFactory logging = LoggerFactory.Create(static b => b.SetMinimumLevel(LogLevel.Debug).AddConsole(static o => o.LogToStandardErrorThreshold = LogLevel.Trace));
        // What processes of one host use in place of that, with "local".
        using IRmaContext? near = options.Contains("local") ? Fabric.Open(Fabric.SharedMemoryByAddress) : null;
        await using RmaMemoryPool<HostProvider>? nearPool = near is null ? null : new RmaMemoryPool<HostProvider>(near, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        await using RmaConnections? nearConnections = nearPool is null ? null : new RmaConnections(nearPool, null, logging);
        await using var connections = new RmaConnections(pool, new RmaConnectionOptions
        {
            HeartbeatInterval = TestTime.Seconds(options.Contains("patient") ? 5 : 0.2),
            PeerTimeout = TestTime.Seconds(options.Contains("patient") ? 60 : 3),
        }, logging, local: nearConnections);
        RmaConnectionListener? listener = null;
        while (await Console.In.ReadLineAsync() is { } line)
        {
            string answer;
            switch (line.Split(' '))
            {
                case ["listen", var what, .. var where]:
                    listener = connections.Listen(new RmaEndPoint(where is [var address] ? IPAddress.Parse(address) : IPAddress.Loopback, 0));
                    _ = AcceptAsync(listener, what);
                    answer = ((IPEndPoint)listener.EndPoint).Port.ToString(CultureInfo.InvariantCulture);
                    break;
                case ["left"]:
                    RmaPoolStatistics now = pool.GetStatistics();
                    answer = $"{connections.Count} {now.RentedBuffers} {now.QuarantinedBuffers}";
                    break;
                default:
                    answer = $"unknown: {line}";
                    break;
            }
            await Console.Out.WriteLineAsync(answer);
            await Console.Out.FlushAsync();
        }
        if (listener is not null)
            await listener.DisposeAsync();
        return 0;
    }

    private static async Task AcceptAsync(RmaConnectionListener listener, string what)
    {
        while (await listener.AcceptAsync() is { } connection)
            _ = ServeAsync(connection, what);
    }

    private static async Task ServeAsync(ConnectionContext connection, string what)
    {
        await using (connection)
        {
            try
            {
                if (what == "echo")
                    await EchoAsync(connection.Transport);
                else
                    await SendForeverAsync(connection.Transport.Output);
            }
            catch (Exception e) when (e is ConnectionResetException or ConnectionAbortedException)
            {
                // Its other side has gone, as tests have it do.
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
