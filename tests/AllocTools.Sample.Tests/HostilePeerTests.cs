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

/// <summary>Tests a real receiver with a sender that holds its ticket and violates the protocol.</summary>
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
        // The sender stays alive, whatever it sends or does not send.
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
    [InlineData("../evil", 100)]
    [InlineData("/tmp/evil", 100)]
    [InlineData("..", 100)]
    [InlineData("", 100)]
    [InlineData("a\u001b]0;evil\u0007", 100)]
    [InlineData("evil", -1)]
    public async Task ANameThatLeadsElsewhereOrALengthThatCannotBeIsRefused(string name, long length) =>
        await AssertRefusedAsync("a file with an invalid name or length", (peer, offer) => peer.SendAsync(offer with { File = new FileState(name, length, 0) }, Token));

    [Fact]
    public async Task AnotherHashThanThatOfTheBytesIsRefused() =>
        await AssertRefusedAsync("The received bytes differ from the sent ones", async (peer, offer) =>
        {
            await OfferAsync(peer, offer, new byte[100]);
            await peer.SendAsync(new Message(Hash: new byte[32]), Token);
        });

    [Theory]
    [InlineData(101)]
    [InlineData(0)]
    [InlineData(-1)]
    public async Task APieceThatTheFileCannotHaveIsRefused(int length) =>
        await AssertRefusedAsync($"announces {length} bytes at 0 of a file of 100", async (peer, offer) =>
        {
            await peer.SendAsync(offer, Token);
            await peer.ReceiveAsync(Token);
            await peer.SendAsync(new Message(Piece: length), Token);
        });

    [Fact]
    public async Task AHashBeforeTheLastByteIsRefused() =>
        await AssertRefusedAsync("an unexpected message", async (peer, offer) =>
        {
            await OfferAsync(peer, offer, new byte[50]);
            await peer.SendAsync(new Message(Hash: new byte[32]), Token);
        });

    [Fact]
    public async Task TheReasonOfASenderThatGivesUpIsSaid() =>
        await AssertRefusedAsync("The sender gave up: Reading 'evil' failed.", async (peer, offer) =>
        {
            await OfferAsync(peer, offer, new byte[50]);
            await peer.GiveUpAsync(new TransferException("Reading 'evil' failed."));
        });

    [Fact]
    public async Task ASecondOfferIsRefused() =>
        await AssertRefusedAsync("an unexpected message", async (peer, offer) =>
        {
            await OfferAsync(peer, offer, new byte[100]);
            await peer.SendAsync(offer, Token);
        });

    [Theory]
    [InlineData(0)]
    [InlineData(50)]
    [InlineData(100)]
    public async Task ASenderThatFallsSilentIsGivenUp(int after) =>
        await AssertRefusedAsync(FormattableString.Invariant($"been silent for {TestTime.Seconds(2).TotalSeconds} s"), (peer, offer) => OfferAsync(peer, offer, new byte[after]));

    [Theory]
    [InlineData("nonsense\n", "can't be read")]
    [InlineData("null\n", "an unexpected message")]
    [InlineData("{\"Has\":1e99}\n", "can't be read")]
    [InlineData("\n", "can't be read")]
    public async Task BytesThatAreNoMessageAreRefused(string text, string says) =>
        await AssertRefusedAsync(says, (peer, offer) => OfferAsync(peer, offer, new byte[100], text));

    [Fact]
    public async Task AMessageWithoutAnEndIsRefused() =>
        await AssertRefusedAsync("a message of more than 65536 bytes", (peer, offer) => OfferAsync(peer, offer, new byte[100], new string(' ', 70_000)));

    [Fact]
    public async Task WhatStrangersSendIsIgnored()
    {
        // A busy machine sometimes takes longer than 2 s to set up a connection.
        string ticket = await StartAsync(seconds: 60);
        await using (RmaConnection stranger = await ConnectAsync(ticket))
        {
            var peer = new Peer(stranger, "receiver", TestTime.Seconds(5).TotalSeconds);
            await peer.SendAsync(new Message("guess", new FileState("stranger", 100, 0)), Token);
            Assert.Contains("the ticket belongs to another receiver", (await Assert.ThrowsAsync<TransferException>(() => peer.ReceiveAsync(Token))).Message, StringComparison.Ordinal);
        }
        await using (RmaConnection stranger = await ConnectAsync(ticket))
            await stranger.Output.WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray(), Token);
        // It is silent for as long as it may be, and blocks nobody.
        await using RmaConnection silent = await ConnectAsync(ticket);
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
        _receiver = new SampleProcess("--role", "receiver", "--provider", ProviderName, "--output", _target.Path, "--timeout", FormattableString.Invariant($"{TestTime.Seconds(seconds).TotalSeconds}"));
        await _receiver.ReadUntilAsync("with this ticket");
        return await _receiver.ReadLineAsync();
    }

    private async Task<RmaConnection> ConnectAsync(string ticket)
    {
        var address = new Uri(ticket);
        return await _connections.ConnectAsync(new IPEndPoint(IPAddress.Parse(address.Host), address.Port), Token);
    }

    /// <summary>
    /// Offers a file. Once the receiver has accepted it, sends a piece of it, followed by data that is not a part of
    /// it.
    /// </summary>
    private async Task OfferAsync(Peer peer, Message offer, byte[] bytes, string more = "")
    {
        await peer.SendAsync(offer, Token);
        await peer.ReceiveAsync(Token);
        if (bytes.Length > 0)
            await peer.SendAsync(new Message(Piece: bytes.Length), Token);
        await _last!.Output.WriteAsync((byte[])[.. bytes, .. Encoding.ASCII.GetBytes(more)], Token);
    }

    private async Task AssertRefusedAsync(string says, Func<Peer, Message, Task> misbehave)
    {
        string ticket = await StartAsync();
        await using RmaConnection connection = _last = await ConnectAsync(ticket);
        var peer = new Peer(connection, "receiver", TestTime.Seconds(30).TotalSeconds);
        var clock = Stopwatch.StartNew();
        await misbehave(peer, new Message(new Uri(ticket).AbsolutePath[1..], new FileState("evil", 100, 0)));
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
