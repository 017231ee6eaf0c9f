using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Text;
using AllocTools.Connections;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Testing;
using WorkerService;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>A real receiver, and a sender that holds its ticket and says what it should not.</summary>
public sealed class HostilePeerTests : IAsyncDisposable
{
    private const string ProviderName = "tcp;ofi_rxm";

    private readonly TemporaryFolder _target = new();
    private readonly IRmaContext _context;
    private readonly RmaMemoryPool<LibfabricProvider> _pool;
    private readonly RmaConnections _connections;
    private SampleProcess? _receiver;

    public HostilePeerTests()
    {
        _context = new LibfabricProvider(new LibfabricOptions { Provider = ProviderName, Node = "127.0.0.1", Access = RmaAccess.RemoteWrite }).Open();
        _pool = new RmaMemoryPool<LibfabricProvider>(_context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero, Access = RmaAccess.RemoteWrite });
        // It lives, whatever it says or does not say.
        _connections = new RmaConnections(_pool, new RmaConnectionOptions { HeartbeatInterval = TimeSpan.FromMilliseconds(200) });
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        if (_receiver is not null)
            await _receiver.DisposeAsync();
        await _connections.DisposeAsync();
        await _pool.DisposeAsync();
        _context.Dispose();
        _target.Dispose();
    }

    [Theory]
    [InlineData("../evil")]
    [InlineData("/tmp/evil")]
    [InlineData("..")]
    [InlineData("")]
    [InlineData("a\u001b]0;evil\u0007")]
    public async Task ANameThatLeadsElsewhereIsRefused(string name) =>
        await AssertRefusedAsync("a file whose name", async (peer, offer) => await peer.SendAsync(new Message(offer with { Name = name }), Token));

    [Theory]
    [InlineData(-1, 4096, 1)]
    [InlineData(100, 0, 1)]
    [InlineData(100, 4096, 0)]
    [InlineData(100, 4096, int.MinValue)]
    public async Task AnOfferThatCannotBeIsRefused(long length, int chunkSize, int inFlight) =>
        await AssertRefusedAsync("offer can't be", async (peer, offer) => await peer.SendAsync(new Message(offer with { Length = length, ChunkSize = chunkSize, InFlight = inFlight }), Token));

    [Theory]
    [InlineData(7, 0, 100, "not granted")]
    [InlineData(-1, 0, 100, "not granted")]
    [InlineData(0, long.MaxValue, 100, "of a file of 100")]
    [InlineData(0, -1, 100, "of a file of 100")]
    [InlineData(0, 0, 101, "of a file of 100")]
    [InlineData(0, 0, 0, "of a file of 100")]
    [InlineData(0, 0, -1, "of a file of 100")]
    [InlineData(0, 50, 50, "of a file of 100")]
    public async Task AChunkThatWasNotGrantedOrIsNotNextIsRefused(int slot, long offset, int length, string says) =>
        await AssertRefusedAsync(says, async (peer, offer) =>
        {
            await peer.SendAsync(new Message(offer), Token);
            await peer.ReceiveAsync(Token);
            await peer.SendAsync(new Message(Chunk: new Chunk(slot, offset, length)), Token);
        });

    /// <summary>The second one comes while the first one's memory still has its bytes, or after it: both are past the end then.</summary>
    [Fact]
    public async Task TheSameChunkTwiceIsRefused() =>
        await AssertRefusedAsync("of a file of 100", async (peer, offer) =>
        {
            await peer.SendAsync(new Message(offer), Token);
            await peer.ReceiveAsync(Token);
            await peer.SendAsync(new Message(Chunk: new Chunk(0, 0, 100)), Token);
            await peer.SendAsync(new Message(Chunk: new Chunk(0, 0, 100)), Token);
        });

    [Fact]
    public async Task AnotherHashThanThatOfTheBytesIsRefused() =>
        await AssertRefusedAsync("not those that were sent", async (peer, offer) =>
        {
            await peer.SendAsync(new Message(offer), Token);
            await peer.ReceiveAsync(Token);
            await peer.SendAsync(new Message(Chunk: new Chunk(0, 0, 100)), Token);
            await peer.SendAsync(new Message(Hash: new byte[32]), Token);
        });

    [Fact]
    public async Task AHashBeforeTheEndIsRefused() =>
        await AssertRefusedAsync("out of turn", async (peer, offer) =>
        {
            await peer.SendAsync(new Message(offer), Token);
            await peer.ReceiveAsync(Token);
            await peer.SendAsync(new Message(Hash: new byte[32]), Token);
        });

    [Fact]
    public async Task ASecondOfferIsRefused() =>
        await AssertRefusedAsync("out of turn", async (peer, offer) =>
        {
            await peer.SendAsync(new Message(offer), Token);
            await peer.ReceiveAsync(Token);
            await peer.SendAsync(new Message(offer), Token);
        });

    [Fact]
    public async Task ASenderThatFallsSilentIsGivenUp() =>
        await AssertRefusedAsync("said nothing for 2 s", async (peer, offer) => await peer.SendAsync(new Message(offer), Token));

    [Theory]
    [InlineData(4, "nonsense", "can't be read")]
    [InlineData(0, "null", "out of turn")]
    [InlineData(0, "{\"Chunk\":{\"Slot\":1e99}}", "can't be read")]
    [InlineData(-1, "", "a message of -1 bytes")]
    [InlineData(int.MaxValue, "", "a message of 2147483647 bytes")]
    public async Task BytesThatAreNoMessageAreRefused(int length, string text, string says) =>
        await AssertRefusedAsync(says, async (peer, offer) =>
        {
            await peer.SendAsync(new Message(offer), Token);
            await peer.ReceiveAsync(Token);
            byte[] bytes = new byte[sizeof(int) + text.Length];
            BinaryPrimitives.WriteInt32LittleEndian(bytes, length is 0 or 4 ? text.Length : length);
            Encoding.ASCII.GetBytes(text, bytes.AsSpan(sizeof(int)));
            await _last!.Output.WriteAsync(bytes, Token);
        });

    [Fact]
    public async Task WhatStrangersSendIsIgnored()
    {
        // A busy machine sets up no connection within 2 s at times.
        string ticket = await StartAsync(seconds: 60);
        await using (RmaConnection stranger = await ConnectAsync(ticket))
        {
            var peer = new Peer(stranger, "receiver", TestTime.Seconds(5));
            await peer.SendAsync(new Message(new Offer("guess", "stranger", 100, 0, 4096, 1)), Token);
            await Assert.ThrowsAsync<TransferException>(() => peer.ReceiveAsync(Token));
        }
        await using (RmaConnection stranger = await ConnectAsync(ticket))
            await stranger.Output.WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray(), Token);
        using var source = new TemporaryFolder();
        await using var sender = new SampleProcess("--role", "sender", "--provider", ProviderName, "--peer", ticket, "--file", source.Write("data.bin", 1_000_000));
        SampleResult sent = await sender.EndAsync();
        Assert.Equal("", sent.Error);
        Assert.Equal(0, (await _receiver!.EndAsync()).ExitCode);
        Assert.Equal(["data.bin"], _target.Files);
    }

    private RmaConnection? _last;

    private async Task<string> StartAsync(int seconds = 2)
    {
        _receiver = new SampleProcess("--role", "receiver", "--provider", ProviderName, "--output", _target.Path, "--timeout", $"{seconds}");
        await _receiver.ReadUntilAsync("with this ticket");
        return await _receiver.ReadLineAsync();
    }

    private async Task<RmaConnection> ConnectAsync(string ticket)
    {
        var address = new Uri(ticket);
        return await _connections.ConnectAsync(new IPEndPoint(IPAddress.Parse(address.Host), address.Port), Token);
    }

    private async Task AssertRefusedAsync(string says, Func<Peer, Offer, Task> misbehave)
    {
        string ticket = await StartAsync();
        await using RmaConnection connection = _last = await ConnectAsync(ticket);
        var peer = new Peer(connection, "receiver", TestTime.Seconds(30));
        var clock = Stopwatch.StartNew();
        await misbehave(peer, new Offer(new Uri(ticket).AbsolutePath[1..], "evil", 100, 0, 4096, 1));
        SampleResult result = await _receiver!.EndAsync();
        Assert.True(clock.Elapsed < TestTime.Seconds(60), $"it took {clock.Elapsed}");
        Assert.Equal(1, result.ExitCode);
        string line = Assert.Single(result.ErrorLines);
        Assert.Contains(says, line, StringComparison.Ordinal);
        Assert.DoesNotContain(line, char.IsControl);
        Assert.Empty(_target.Files);
        await Assert.ThrowsAsync<TransferException>(() => ReadAllAsync(peer));
    }

    private static async Task ReadAllAsync(Peer peer)
    {
        while (true)
            await peer.ReceiveAsync(Token);
    }
}
