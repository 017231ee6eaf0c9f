using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Ucx.Tests;

/// <summary>
/// Tests that a child process inherits nothing of an endpoint. Otherwise a port would stay taken, and a connection
/// open, when this process ends.
/// </summary>
[Collection(nameof(ChildProcessTests))]
[CollectionDefinition(nameof(ChildProcessTests), DisableParallelization = true)] // the test inspects the descriptors of the process
public sealed class ChildProcessTests
{
    public static TheoryData<string> Fabrics => [.. UcxFabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AChildInheritsNoSocketOfAnEndpoint(string fabric)
    {
        HashSet<string> before = InheritedDescriptors.Own();
        using IRmaContext left = UcxFabric.Open(fabric);
        using IRmaContext right = UcxFabric.Open(fabric);
        await using IRmaEndpoint from = left.OpenEndpoint();
        await using IRmaEndpoint to = right.OpenEndpoint();
        // UCX has opened something, which children don't inherit from the start.
        Assert.NotEmpty(InheritedDescriptors.Own().Except(before));
        Assert.Empty(InheritedDescriptors.Inherited(before));
        await using var pool = new RmaMemoryPool<HostProvider>(left, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        await using var other = new RmaMemoryPool<HostProvider>(right, new RmaMemoryPoolOptions { DrainTimeout = TimeSpan.Zero });
        using RmaBuffer sent = pool.Rent(64);
        using RmaBuffer received = other.Rent(64);
        Task<RmaReceiveResult> receiving = to.ReceiveAsync(received, cancellationToken: Token).AsTask();
        await from.SendAsync(sent, from.InsertPeer(to.Address.Span), cancellationToken: Token);
        Assert.Equal(64, (await receiving).Length);
        // The connections of both sides follow a little later.
        Assert.Empty(InheritedDescriptors.InheritedInTheEnd(before));
    }
}
