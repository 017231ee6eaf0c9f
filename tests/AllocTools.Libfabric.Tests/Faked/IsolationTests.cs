using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>With <see cref="RmaIsolation.PerExposure"/> a key ends with its exposure, in every registration mode.</summary>
public sealed class IsolationTests
{
    private const int Length = 4096;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static TheoryData<string> Modes => [.. FakeMode.All().Select(m => m.ToString())];

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AfterAnExposureEndsItsKeyChangesNoByteAndReadsNone(string mode)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode));
        await using var pair = new EndpointPair(world.Name, configurePool: o => o.Isolation = RmaIsolation.PerExposure);
        using RmaBuffer source = pair.Left.Pool.Rent(Length);
        source.Span.Fill(7);
        using RmaBuffer target = pair.Right.Pool.Rent(Length);
        target.Span.Clear();
        RmaExposure exposure = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        using RemoteRegion old = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        await pair.Left.Endpoint.WriteAsync(source, old, cancellationToken: Token);
        Assert.False(target.Span.ContainsAnyExcept((byte)7));
        exposure.Dispose();

        target.Span.Clear();
        source.Span.Fill(9);
        await RefusedAsync(() => pair.Left.Endpoint.WriteAsync(source, old, cancellationToken: Token));
        Assert.False(target.Span.ContainsAnyExcept((byte)0));
        await RefusedAsync(() => pair.Left.Endpoint.ReadAsync(source, old, cancellationToken: Token));
        Assert.False(source.Span.ContainsAnyExcept((byte)9));

        // Nor by another exposure of the same bytes, which has a key of its own.
        using RmaExposure next = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        await RefusedAsync(() => pair.Left.Endpoint.WriteAsync(source, old, cancellationToken: Token));
        Assert.False(target.Span.ContainsAnyExcept((byte)0));
    }

    // An initiator may see success though nothing was written.
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AnInitiatorThatSeesSuccessHasChangedNothingEither(string mode)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode));
        await using var pair = new EndpointPair(world.Name, configurePool: o => o.Isolation = RmaIsolation.PerExposure);
        using RmaBuffer source = pair.Left.Pool.Rent(Length);
        source.Span.Fill(7);
        using RmaBuffer target = pair.Right.Pool.Rent(Length);
        target.Span.Clear();
        RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion old = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        world.End(FakeEnding.Blindly);
        await pair.Left.Endpoint.WriteAsync(source, old, cancellationToken: Token);
        Assert.False(target.Span.ContainsAnyExcept((byte)7));
        exposure.Dispose();
        target.Span.Clear();
        await pair.Left.Endpoint.WriteAsync(source, old, cancellationToken: Token);
        Assert.False(target.Span.ContainsAnyExcept((byte)0));
    }

    private static async Task RefusedAsync(Func<ValueTask> operation)
    {
        RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(() => operation().AsTask());
        Assert.Equal(nameof(FiErrno.FI_EACCES), error.ErrorName);
        Assert.Contains("the peer's exposure has ended", error.Message, StringComparison.Ordinal);
    }
}
