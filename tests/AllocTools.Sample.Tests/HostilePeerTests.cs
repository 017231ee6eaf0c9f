using System.Diagnostics;
using AllocTools.Libfabric;
using AllocTools.Regions;
using AllocTools.Testing;
using WorkerService.Application;
using WorkerService.Protocol;
using WorkerService.Reporting;
using WorkerService.Transfer;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>A real receiver, and a sender that holds its ticket and sends what it should not.</summary>
public sealed class HostilePeerTests : IAsyncDisposable
{
    private const string ProviderName = "tcp;ofi_rxm";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly TemporaryFolder _target = new();
    private readonly IRmaContext _context;
    private readonly RmaMemoryPool<LibfabricProvider> _pool;
    private readonly IRmaEndpoint _endpoint;
    private SampleProcess? _receiver;

    public HostilePeerTests()
    {
        _context = new LibfabricProvider(new LibfabricOptions { Provider = ProviderName, Node = "127.0.0.1" }).Open();
        _pool = new RmaMemoryPool<LibfabricProvider>(_context, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        _endpoint = _context.OpenEndpoint();
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _endpoint.DisposeAsync();
        await _pool.DisposeAsync();
        _context.Dispose();
        if (_receiver is not null)
            await _receiver.DisposeAsync();
        _target.Dispose();
    }

    [Theory]
    [InlineData("../evil")]
    [InlineData("/tmp/evil")]
    [InlineData("..")]
    [InlineData("a\u001b]0;evil\u0007")]
    public async Task ANameThatLeadsElsewhereIsRefused(string name) =>
        await AssertRefusedAsync("a file whose name", channel => channel.SendAsync(Offer(100, name), Token), waitsForAnswer: false);

    [Fact]
    public async Task AChunkOfASlotThatWasNotGrantedIsRefused() =>
        await AssertRefusedAsync("not granted", async channel =>
        {
            await channel.SendAsync(Offer(100), Token);
            await channel.ReceiveAsync(Patience, Token);
            await channel.SendAsync(new ChunkMessage(7, 0, 100), Token);
        });

    [Fact]
    public async Task AChunkPastTheEndIsRefused() =>
        await AssertRefusedAsync("of a file of 100", async channel =>
        {
            await channel.SendAsync(Offer(100), Token);
            await channel.ReceiveAsync(Patience, Token);
            await channel.SendAsync(new ChunkMessage(0, long.MaxValue, 100), Token);
        });

    [Fact]
    public async Task AnotherHashThanThatOfTheBytesIsRefused() =>
        await AssertRefusedAsync("not those that were sent", async channel =>
        {
            await channel.SendAsync(Offer(100), Token);
            await channel.ReceiveAsync(Patience, Token);
            await channel.SendAsync(new CompleteMessage(new byte[WireFormat.HashLength]), Token);
            await channel.SendAsync(new ChunkMessage(0, 0, 100), Token);
        });

    [Fact]
    public async Task ASecondOfferIsRefused() =>
        await AssertRefusedAsync("out of turn", async channel =>
        {
            await channel.SendAsync(Offer(100), Token);
            await channel.ReceiveAsync(Patience, Token);
            await channel.SendAsync(Offer(100), Token);
        });

    [Fact]
    public async Task AnAddressThatIsNoneIsRefused() =>
        await AssertRefusedAsync("", channel => channel.SendAsync(Offer(100) with { Address = [1, 2, 3] }, Token), waitsForAnswer: false);

    [Fact]
    public async Task ASenderThatFallsSilentIsGivenUp() =>
        await AssertRefusedAsync("said nothing for 2 s", channel => channel.SendAsync(Offer(100), Token), waitsForAnswer: false);

    [Fact]
    public async Task WhatStrangersSendIsIgnored()
    {
        PeerTicket ticket = await StartAsync();
        await using (MessageChannel stranger = Connect(ticket with { Session = Guid.NewGuid() }))
        {
            await stranger.SendAsync(Offer(100, "stranger"), Token);
            await stranger.SendAsync(new AbortMessage("go home"), Token);
        }
        using var source = new TemporaryFolder();
        string path = source.Write("data.bin", 1_000_000);
        using SourceFile file = await SourceFile.OpenAsync(path, Patience, Token);
        TransferSummary summary = await new FileSender(_pool, _endpoint, new TransferOptions()).SendAsync(file, ticket, NoProgress.Source, Token);
        Assert.Equal(1_000_000, summary.Bytes);
        SampleResult result = await _receiver!.EndAsync();
        Assert.Equal(0, result.ExitCode);
        Assert.Equal(["data.bin"], _target.Files);
    }

    private OfferMessage Offer(long length, string name = "evil") => new(length, 4096, 1, _endpoint.Address.ToArray(), name);

    private async Task<PeerTicket> StartAsync()
    {
        _receiver = new SampleProcess("--role", "receiver", "--provider", ProviderName, "--output", _target.Path, "--timeout", "2");
        await _receiver.ReadUntilAsync("with this ticket");
        return PeerTicket.Parse(await _receiver.ReadLineAsync());
    }

    private MessageChannel Connect(PeerTicket ticket)
    {
        var channel = new MessageChannel(_pool, _endpoint, ticket.Session, "receiver", Patience, depth: 4);
        channel.Connect(ticket.Address.Span);
        return channel;
    }

    private async Task AssertRefusedAsync(string says, Func<MessageChannel, Task> misbehave, bool waitsForAnswer = true)
    {
        PeerTicket ticket = await StartAsync();
        await using MessageChannel channel = Connect(ticket);
        var clock = Stopwatch.StartNew();
        await misbehave(channel);
        SampleResult result = await _receiver!.EndAsync();
        Assert.True(clock.Elapsed < TestTime.Seconds(60), $"it took {clock.Elapsed}");
        Assert.Equal(1, result.ExitCode);
        string line = Assert.Single(result.ErrorLines);
        Assert.Contains(says, line, StringComparison.Ordinal);
        Assert.DoesNotContain(line, char.IsControl);
        Assert.Empty(_target.Files);
        if (waitsForAnswer)
            await Assert.ThrowsAsync<PeerAbortedException>(() => ReadAllAsync(channel));
    }

    private static async Task ReadAllAsync(MessageChannel channel)
    {
        while (true)
            await channel.ReceiveAsync(Patience, Token);
    }
}
