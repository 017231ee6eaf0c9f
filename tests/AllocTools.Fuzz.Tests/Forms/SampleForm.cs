using System.Net;
using System.Text;
using System.Text.Json;
using AllocTools.Connections;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;
using WorkerService;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>What the other side of samples/WorkerService sends over a connection: messages, each a line of JSON.</summary>
internal sealed class SampleForm : ByteForm
{
    private readonly Side _left = new();
    private readonly Side _right = new();
    private readonly RmaConnectionListener _listener;

    public SampleForm() => _listener = _right.Connections.Listen(new RmaEndPoint(IPAddress.Loopback, 0));

    public override string Name => "sample-messages";

    public override int Inputs => 1_500;

    public override Gen<byte[]> Valid { get; } = Gen.OneOf(
        Gen.Select(Gen.String[0, 20], Gen.String[0, 20], Gen.Long, static (token, name, length) => new Message(token, new FileState(name, length, 0))),
        Gen.Long.Select(static has => new Message(Has: has, Hash: new byte[32])),
        Gen.Int.Select(static piece => new Message(Piece: piece)),
        Gen.Byte.Array[0, 40].Select(static hash => new Message(Hash: hash)))
        .Array[1, 4].Select(static messages => (byte[])[.. messages.SelectMany(static m => (byte[])[.. JsonSerializer.SerializeToUtf8Bytes(m, WireJson.Default.Message), (byte)'\n'])]);

    public override IReadOnlyList<byte[]> Words { get; } = [.. Texts(Encoding.UTF8, "\n", "{}", "null\n", "[", "\"Piece\":", "1e99", "\"Abort\":\"\\u001b]0;x\\u0007\"", "\\ud800", "{\"Has\":", "\"Summary\":{}"), [0xFF, 0xFE]];

    // Connections are opened and closed on several threads.
    public override long? MostAllocated(int length) => null;

    public override string? Read(ReadOnlyMemory<byte> input) => ReadAsync(input.ToArray()).WaitAsync(TestTime.Seconds(30)).GetAwaiter().GetResult();

    protected override void Close()
    {
        _listener.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _left.Dispose();
        _right.Dispose();
    }

    private async Task<string?> ReadAsync(byte[] input)
    {
        ValueTask<ConnectionContext?> accepting = _listener.AcceptAsync();
        await using RmaConnection sender = await _left.Connections.ConnectAsync(_listener.EndPoint, CancellationToken.None);
        await using var receiver = (RmaConnection)(await accepting)!;
        await sender.Output.WriteAsync(input);
        await sender.Output.CompleteAsync();
        var peer = new Peer(receiver, "sender", 20);
        int read = 0;
        try
        {
            while (true)
            {
                await peer.ReceiveAsync(CancellationToken.None);
                read++;
            }
        }
        catch (TransferException e)
        {
            // This is the end of a stream that was complete.
            return read > 0 && e.Message.StartsWith("The sender closed the connection", StringComparison.Ordinal) && input[^1] == (byte)'\n' ? null : Report.OneLine(e.Message);
        }
        catch (JsonException)
        {
            return "It is not the JSON of a message.";
        }
        finally
        {
            // The work is bounded by the number of lines.
            Assert.InRange(read, 0, input.Count(static b => b == (byte)'\n'));
        }
    }

    /// <summary>The connections of one process, in this one.</summary>
    private sealed class Side : IDisposable
    {
        private readonly IRmaContext _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        private readonly RmaMemoryPool<HostProvider> _pool;

        public Side()
        {
            _pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
            Connections = new RmaConnections(_pool, new RmaConnectionOptions { LateWrites = TimeSpan.FromMilliseconds(10) });
        }

        public RmaConnections Connections { get; }

        public void Dispose()
        {
            Connections.DisposeAsync().AsTask().GetAwaiter().GetResult();
            _pool.Dispose();
            _context.Dispose();
        }
    }
}
