using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests what a completed send means, and how many messages are sent to a peer that receives none.</summary>
public sealed class DeliveryTests
{
    private static readonly TimeSpan Soon = TestTime.Seconds(0.5);

    public static TheoryData<string> Fabrics => [.. Fabric.All];

    public static TheoryData<string, LibfabricCompletionLevel> FabricsAndLevels => new(
        from fabric in Fabric.All
        from level in Enum.GetValues<LibfabricCompletionLevel>()
        select (fabric, level));

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task NothingIsDeliveredToAPeerThatIsStopped(string fabric)
    {
        foreach (int length in new[] { 1, 64, 4_096, 16_384, 100_000 })
        {
            await using LocalSide side = await FabricProcesses.StartAsync(fabric);
            await side.Process.AskAsync("rent 100000 0");
            using RmaBuffer source = side.Pool.Rent(100_000);
            using RemoteRegion remote = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, 64));
            await side.Process.TellAsync("receive 0");
            await side.Endpoint.SendAsync(source.Slice(0, 64), side.Peer, cancellationToken: Token);
            Assert.Equal("64", await side.Process.AnswerAsync());
            Assert.Equal(LibfabricCompletionLevel.Delivery, ((LibfabricEndpoint)side.Endpoint).GetSendLevel(side.Peer));

            await side.Process.TellAsync("receive 0");
            await side.Process.SuspendAsync();
            Task send = side.Endpoint.SendAsync(source.Slice(0, length), side.Peer, Soon, Token).AsTask();
            await Assert.ThrowsAsync<RmaTimeoutException>(() => send);
            await Assert.ThrowsAsync<RmaTimeoutException>(() => side.Endpoint.WriteAsync(source.Slice(0, 64), remote, Soon, Token).AsTask());
        }
    }

    [Theory]
    [MemberData(nameof(FabricsAndLevels))]
    public async Task APeerThatReceivesNothingIsSentNoMoreThanAllowed(string fabric, LibfabricCompletionLevel level)
    {
        const int Limit = 100;
        await using var pair = new EndpointPair(fabric, o =>
        {
            o.Endpoint.CompletionLevel = level;
            o.Endpoint.MaxUnreceivedMessages = Limit;
        });
        if (level == LibfabricCompletionLevel.Transmit && !pair.Left.Pool.Context.Traits.UnreceivedMessagesPileUp)
            return;
        using RmaBuffer source = pair.Left.Pool.Rent(4_096);
        int sent = 0;
        RmaTimeoutException? refused = null;
        for (; refused is null && sent <= Limit; sent += refused is null ? 1 : 0)
        {
            source.Span[0] = (byte)sent;
            refused = await RecordTimeoutAsync(pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, Soon, Token).AsTask());
        }
        Assert.NotNull(refused);
        if (!pair.Left.Pool.Context.Traits.UnreceivedMessagesPileUp)
            return;
        Assert.Equal(Limit, sent);
        Assert.Contains("Endpoint:MaxUnreceivedMessages", refused.Message, StringComparison.Ordinal);

        // The waiting messages are sent, in order, as soon as the peer receives.
        RmaBuffer[] later = [.. Enumerable.Range(0, 50).Select(_ => pair.Left.Pool.Rent(16))];
        Task[] waiting = new Task[later.Length];
        for (int i = 0; i < later.Length; i++)
        {
            later[i].Span[0] = (byte)(sent + i);
            waiting[i] = pair.Left.Endpoint.SendAsync(later[i], pair.Left.Peer, TestTime.Seconds(30), Token).AsTask();
        }
        Assert.InRange(pair.Left.Endpoint.GetStatistics().HeldBackSends, 1, later.Length);
        using RmaBuffer received = pair.Right.Pool.Rent(4_096);
        for (int i = 0; i < sent + later.Length; i++)
        {
            await pair.Right.Endpoint.ReceiveAsync(received, TestTime.Seconds(30), Token);
            Assert.Equal((byte)i, received.Span[0]);
        }
        // While a receive waits, the last messages are confirmed and the next ones sent.
        Task<RmaReceiveResult> last = pair.Right.Endpoint.ReceiveAsync(received, TestTime.Seconds(30), Token).AsTask();
        await Task.WhenAll(waiting);
        await pair.Left.Endpoint.SendAsync(source.Slice(0, 7), pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(7, (await last).Length);
        Assert.Equal(0, pair.Left.Endpoint.GetStatistics().HeldBackSends);
        foreach (RmaBuffer buffer in later)
            buffer.Dispose();
    }

    /// <summary>A sender that has to wait for one peer still reaches the others.</summary>
    [Fact]
    public async Task APeerThatReceivesNothingHoldsUpNoOther()
    {
        await using var pair = new EndpointPair(Fabric.Tcp, o => o.Endpoint.MaxUnreceivedMessages = 1);
        await using var other = new EndpointPair.Side(Fabric.Tcp, null, null);
        using RmaBuffer source = pair.Left.Pool.Rent(16);
        await pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: Token);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        Task heldUp = pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: stop.Token).AsTask();
        RmaPeer healthy = pair.Left.Endpoint.InsertPeer(other.Endpoint.Address.Span);
        using RmaBuffer room = other.Pool.Rent(16);
        for (int i = 0; i < 20; i++)
        {
            Task<RmaReceiveResult> receive = other.Endpoint.ReceiveAsync(room, cancellationToken: Token).AsTask();
            await pair.Left.Endpoint.SendAsync(source, healthy, cancellationToken: Token);
            Assert.Equal(16, (await receive).Length);
        }
        Assert.False(heldUp.IsCompleted);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => heldUp);
    }

    [Fact]
    public async Task APeerWithoutATrailerIsSentToAtTheLevelThatTheTransportHas()
    {
        await using var pair = new EndpointPair(Fabric.Tcp, o => o.Endpoint.MaxUnreceivedMessages = 1);
        var endpoint = (LibfabricEndpoint)pair.Left.Endpoint;
        endpoint.RemovePeer(pair.Left.Peer);
        RmaPeer bare = endpoint.InsertPeer(EndpointAddress.Parse(pair.Right.Endpoint.Address.Span, out _, out _));
        Assert.Equal(LibfabricCompletionLevel.Transmit, endpoint.GetSendLevel(bare));
        using RmaBuffer source = pair.Left.Pool.Rent(16);
        for (int i = 0; i < 5; i++)
            await endpoint.SendAsync(source, bare, cancellationToken: Token);
    }

    private static async Task<RmaTimeoutException?> RecordTimeoutAsync(Task task)
    {
        try
        {
            await task;
            return null;
        }
        catch (RmaTimeoutException e)
        {
            return e;
        }
    }
}
