using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests libfabric's driver without the engine's endpoint.</summary>
public sealed class DriverTests
{
    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>
    /// The last step of opening fails: everything opened before must be closed again, or else the domain would stay
    /// open.
    /// </summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public void AnOpeningThatFailsKeepsNothing(string fabric)
    {
        LibfabricOptions options = Fabric.Options(fabric);
        var context = (LibfabricContext)new LibfabricProvider(options).Open();
        LibfabricEndpointResources resources = LibfabricEndpointResources.Open(
            context.Library, context.Info, context.Fabric, context.Domain, context.Traits.ProviderName, options, context.Logger);
        resources.Queue.Dispose();
        Assert.Throws<ObjectDisposedException>(() => new LibfabricDriver(context, resources, ownsResources: true, options));
        Assert.False(resources.Endpoint.IsReleased);
        resources.Dispose();
        Assert.True(resources.Endpoint.IsReleased);
        context.Dispose();
        Assert.Equal((true, 0), (context.Domain.IsReleased, context.Domain.CloseStatus));
        Assert.Equal((true, 0), (context.Fabric.IsReleased, context.Fabric.CloseStatus));
    }

    /// <summary>Calls that are allowed on a closed endpoint must not access anything that closing has freed.</summary>
    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AClosedEndpointStillSaysWhatItDid(string fabric)
    {
        await using var pair = new EndpointPair(fabric);
        using RmaBuffer buffer = pair.Right.Pool.Rent(64);
        using RmaBuffer message = pair.Left.Pool.Rent(64);
        Task receiving = pair.Right.Endpoint.ReceiveAsync(buffer, cancellationToken: Token).AsTask();
        await pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token);
        await receiving;
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        RemoteRegion imported = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        await pair.Left.Endpoint.DisposeAsync();
        for (int i = 0; i < 1000; i++)
        {
            RmaEndpointStatistics now = pair.Left.Endpoint.GetStatistics();
            Assert.Equal((RmaEndpointState.Closed, 1L), (now.State, now.Operations.Single(static o => o.Kind == RmaOperationKind.Send).Succeeded));
        }
        Assert.Throws<ObjectDisposedException>(() => pair.Left.Endpoint.RemovePeer(pair.Left.Peer));
        Assert.Throws<ObjectDisposedException>(() => pair.Left.Endpoint.InsertPeer(pair.Right.Endpoint.Address.Span));
        Assert.Throws<ObjectDisposedException>(() => pair.Left.Endpoint.Poll([]));
        Assert.Throws<ObjectDisposedException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Write(message, imported)));
        Assert.False(pair.Left.Endpoint.Address.IsEmpty);
        imported.Dispose();
    }
}
