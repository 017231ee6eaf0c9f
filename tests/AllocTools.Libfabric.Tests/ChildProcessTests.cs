using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests that a child process inherits nothing of an endpoint. Otherwise a port would stay taken, and a connection
/// open, when this process ends.
/// </summary>
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
        // Opened descriptors are not inheritable from the start.
        Assert.Empty(InheritedDescriptors.Inherited(before));
        using RmaBuffer sent = pair.Left.Pool.Rent(64);
        using RmaBuffer received = pair.Right.Pool.Rent(64);
        Task<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(sent, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
        // The connection follows a little later, as do those that other tests open meanwhile.
        Assert.Empty(InheritedDescriptors.InheritedInTheEnd(before));
    }
}
