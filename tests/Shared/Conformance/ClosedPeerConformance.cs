using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>A peer whose endpoint is closed in this process.</summary>
public abstract class ClosedPeerConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    /// <summary>
    /// Operations to a closed peer end, and don't delay operations to others. Where a transport answers in order, one
    /// operation behind them may end too, with an error that says that later ones go on.
    /// </summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AClosedPeerHoldsUpNoOthers(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.OperationTimeout = TestTime.Seconds(2));
        await using var other = new ConformingPair<TTransport>(mode);
        RmaPeer alive = pair.Left.Endpoint.InsertPeer(other.Right.Endpoint.Address.Span);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        await pair.Left.AssertReachesAsync(pair.Left.Peer, pair.Right);
        await pair.Left.AssertReachesAsync(alive, other.Right);
        await pair.Right.Endpoint.DisposeAsync();
        Task gone = pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: Token).AsTask();
        using RmaBuffer received = other.Right.Pool.Rent(64);
        List<Task<RmaReceiveResult>> receives = [];
        bool hasEnded = false;
        for (int sent = 0; sent < 10;)
        {
            receives.Add(other.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask());
            try
            {
                await pair.Left.Endpoint.SendAsync(source, alive, cancellationToken: Token);
                sent++;
            }
            catch (RmaOperationException e) when (!hasEnded && e.Message.Contains("later operations to it go on", StringComparison.Ordinal))
            {
                // The message may have arrived; if so, the last receive stays outstanding.
                hasEnded = true;
            }
        }
        Assert.All(await Task.WhenAll(receives.Take(10)), static r => Assert.Equal(64, r.Length));
        Exception? error = await Record.ExceptionAsync(() => gone.WaitAsync(TestTime.Seconds(60), Token));
        if (error is RmaPeerLostException lost)
        {
            Assert.Equal(pair.Left.Peer, lost.Peer);
            // From here on, operations fail at once.
            Assert.Throws<RmaPeerLostException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Send(source, pair.Left.Peer)));
        }
        else
        {
            Assert.True(error is null or RmaOperationException or RmaTimeoutException, error?.ToString());
        }
    }
}
