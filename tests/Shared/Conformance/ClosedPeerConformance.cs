using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>A peer whose endpoint is closed in this process. What a fabric sees of peers that are gone needs processes of their own.</summary>
public abstract class ClosedPeerConformance<TTransport> : EndpointConformance<TTransport>
    where TTransport : IConformingTransport
{
    /// <summary>What goes to a peer that is closed ends, and what goes to others is not held up by it.</summary>
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AClosedPeerHoldsUpNobody(string mode)
    {
        await using var pair = new ConformingPair<TTransport>(mode, o => o.OperationTimeout = TestTime.Seconds(2));
        await using var other = new ConformingPair<TTransport>(mode);
        RmaPeer alive = pair.Left.Endpoint.InsertPeer(other.Right.Endpoint.Address.Span);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        await pair.Left.AssertReachesAsync(pair.Left.Peer, pair.Right);
        await pair.Left.AssertReachesAsync(alive, other.Right);
        await pair.Right.Endpoint.DisposeAsync();
        Task gone = pair.Left.Endpoint.SendAsync(source, pair.Left.Peer, cancellationToken: Token).AsTask();
        for (int i = 0; i < 10; i++)
            await pair.Left.AssertReachesAsync(alive, other.Right);
        Exception? error = await Record.ExceptionAsync(() => gone.WaitAsync(TestTime.Seconds(60), Token));
        if (error is RmaPeerLostException lost)
        {
            Assert.Equal(pair.Left.Peer, lost.Peer);
            // From here on at once.
            Assert.Throws<RmaPeerLostException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Send(source, pair.Left.Peer)));
        }
        else
        {
            Assert.True(error is null or RmaOperationException or RmaTimeoutException, error?.ToString());
        }
    }
}
