using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.MultiRail;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Xunit;

namespace AllocTools.Tests.MultiRail;

/// <summary>Two sides in this process with two rails between them: a writer and an owner of memory.</summary>
internal sealed class TwoRails : IAsyncDisposable
{
    private readonly IRmaContext[] _contexts = [new HostProvider().Open(), new HostProvider().Open()];
    private readonly RmaMemoryPool<HostProvider>[] _pools;
    private readonly IRmaEndpoint[] _writers;

    public TwoRails(Action<RmaMultiRailOptions>? configure = null, TimeProvider? time = null, ILogger? logger = null, long length = 1 << 20)
    {
        RmaMultiRailOptions options = new() { StripeLength = 64 << 10 };
        configure?.Invoke(options);
        _pools = [.. _contexts.Select(static c => new RmaMemoryPool<HostProvider>(c, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, MaxRegisteredBytes = 64 << 20 }))];
        _writers = [.. _contexts.Select(static c => c.OpenEndpoint())];
        OwnersEndpoints = [.. _contexts.Select(static c => c.OpenEndpoint())];
        Writer = new RmaMultiRail(RailsOf(_writers), options, "writer", logger, time);
        Owner = new RmaMultiRail(RailsOf(OwnersEndpoints), options, "owner");
        Source = Writer.Rent(length);
        Target = Owner.Rent(length);
        Exposure = Target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        Peer = Writer.InsertPeer(Owner.Address.Span);
        Region = Writer.Import(Peer, Exposure.ToArray());
        for (int i = 0; i < length; i++)
            Source.Span[i] = (byte)((i * 31) + (i >> 8));
    }

    public IRmaEndpoint[] OwnersEndpoints { get; }

    public RmaMultiRail Writer { get; }

    public RmaMultiRail Owner { get; }

    public RmaRailMemory Source { get; }

    public RmaRailMemory Target { get; }

    public RmaRailExposure Exposure { get; }

    public RmaRailPeer Peer { get; }

    public RmaRailRegion Region { get; }

    public IReadOnlyList<RmaMemoryPool<HostProvider>> Pools => _pools;

    public void AssertArrived() => Assert.True(Source.Span.SequenceEqual(Target.Span));

    public IReadOnlyList<RmaRail> RailsOf(IReadOnlyList<IRmaEndpoint> endpoints) => [.. endpoints.Select((e, i) => new RmaRail($"rail{i}", _pools[i], e))];

    public async ValueTask DisposeAsync()
    {
        Exposure.Dispose();
        await Writer.DisposeAsync();
        await Owner.DisposeAsync();
        Source.Dispose();
        Target.Dispose();
        foreach (IRmaEndpoint endpoint in _writers.Concat(OwnersEndpoints))
            await endpoint.DisposeAsync();
        foreach (RmaMemoryPool<HostProvider> pool in _pools)
        {
            Assert.True(SpinWait.SpinUntil(() => pool.GetStatistics() is { RentedBuffers: 0, QuarantinedBuffers: 0 }, TestTime.Seconds(30)), pool.GetStatistics().ToString());
            await pool.DisposeAsync();
        }
        foreach (IRmaContext context in _contexts)
            context.Dispose();
    }
}
