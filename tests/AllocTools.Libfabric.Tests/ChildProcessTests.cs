using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>A child process has nothing of an endpoint's: else a port stays taken, and a connection open, when this process ends.</summary>
public sealed class ChildProcessTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AChildInheritsNoSocketOfAnEndpoint(string fabric)
    {
        HashSet<string> before = InheritedDescriptors.Own();
        await using var pair = new EndpointPair(fabric);
        // What was opened is closed to children at once.
        Assert.Empty(InheritedDescriptors.Inherited(before));
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
        // And the connection a little later; so are those that other tests open meanwhile.
        Assert.Empty(InheritedDescriptors.InheritedInTheEnd(before));
    }
}
