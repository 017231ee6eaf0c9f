using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests that with <see cref="RmaIsolation.PerExposure"/>, a key ends with its exposure, in every registration mode.
/// </summary>
public sealed class IsolationTests
{
    private const int Length = 4096;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static TheoryData<string> Modes => [.. FakeMode.ToTest.Select(m => m.ToString())];

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

        // Another exposure of the same bytes does not revive the old key: it has a key of its own.
        using RmaExposure next = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        await RefusedAsync(() => pair.Left.Endpoint.WriteAsync(source, old, cancellationToken: Token));
        Assert.False(target.Span.ContainsAnyExcept((byte)0));
    }

    // An initiator may see success although nothing was written.
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

    // shm of libfabric 2.6 and later behaves like this.
    [Theory]
    [MemberData(nameof(Modes))]
    public async Task AReadThatIsRefusedInSilenceFailsAndDoesNotPassWhatTheBufferHeld(string mode)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode));
        await using var pair = new EndpointPair(world.Name, configurePool: o => o.Isolation = RmaIsolation.PerExposure);
        using RmaBuffer into = pair.Left.Pool.Rent(Length);
        using RmaBuffer target = pair.Right.Pool.Rent(Length);
        target.Span.Fill(5);
        RmaExposure exposure = target.Expose(RmaAccess.RemoteRead);
        using RemoteRegion old = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        world.End(FakeEnding.Blindly);
        await pair.Left.Endpoint.ReadAsync(into, old, cancellationToken: Token);
        Assert.False(into.Span.ContainsAnyExcept((byte)5));
        exposure.Dispose();
        foreach (int length in new[] { 1, 2, 7, 8, 9, Length })
        {
            RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(
                () => pair.Left.Endpoint.ReadAsync(into.Slice(0, length), old.Slice(0, length), cancellationToken: Token).AsTask());
            Assert.Equal(nameof(FiErrno.FI_EACCES), error.ErrorName);
            Assert.Contains("without moving any bytes", error.Message, StringComparison.Ordinal);
            Assert.False(into.Span.ContainsAnyExcept((byte)5));
        }
        RmaBatch batch = pair.Left.Endpoint.CreateBatch();
        batch.Read(into, old);
        Assert.IsType<RmaOperationException>((await Assert.ThrowsAsync<RmaBatchException>(() => batch.RunAsync(cancellationToken: Token).AsTask())).InnerException);
    }

    /// <summary>A byte has only 256 values, so some of these reads find their own mark in the peer's memory.</summary>
    [Fact]
    public async Task AReadOfWhatItsMarkHappensToBeBringsIt()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer into = pair.Left.Pool.Rent(Length);
        using RmaBuffer target = pair.Right.Pool.Rent(Length);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead);
        using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        for (int i = 0; i < Length; i++)
            target.Span[i] = (byte)(i * 31);
        for (int i = 0; i < Length; i++)
        {
            await pair.Left.Endpoint.ReadAsync(into.Slice(i, 1), remote.Slice(i, 1), cancellationToken: Token);
            Assert.Equal((byte)(i * 31), into.Span[i]);
        }
    }

    private static async Task RefusedAsync(Func<ValueTask> operation)
    {
        RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(() => operation().AsTask());
        Assert.Equal(nameof(FiErrno.FI_EACCES), error.ErrorName);
        Assert.Contains("the peer's exposure has ended", error.Message, StringComparison.Ordinal);
    }
}
