using AllocTools.Endpoints;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests completions that arrive late, never, or with an error of either sign; slow calls; and a transport that accepts
/// few operations.
/// </summary>
public sealed class EndingsTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public static TheoryData<string> Modes => [.. new[] { FakeMode.Tcp, FakeMode.Efa, FakeMode.Cxi, FakeMode.Ucx }.Select(m => m.ToString())];

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatCompletesLateKeepsItsBufferFromBeingHandedOutUntilThen(string mode)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode));
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        RmaBuffer source = pair.Left.Pool.Rent(64);
        source.Span.Fill(5);
        nint address = source.Address;
        world.End(FakeEnding.Held);
        RmaTimeoutException late = await Assert.ThrowsAsync<RmaTimeoutException>(
            () => pair.Left.Endpoint.WriteAsync(source, region, TimeSpan.FromMilliseconds(20), Token).AsTask());
        Assert.Contains("quarantined", late.Message, StringComparison.Ordinal);
        source.Dispose();
        Assert.Equal(1, pair.Left.Pool.GetStatistics().QuarantinedBuffers);
        RmaBuffer[] others = [.. Enumerable.Range(0, 5000).Select(_ => pair.Left.Pool.Rent(64))];
        Assert.DoesNotContain(others, b => b.Address == address);
        Assert.False(target.Span.ContainsAnyExcept((byte)0));

        world.End(FakeEnding.AtOnce);
        using (RmaBuffer next = pair.Left.Pool.Rent(64))
        {
            next.Span.Fill(6);
            await pair.Left.Endpoint.WriteAsync(next, region, cancellationToken: Token);
        }
        Assert.Equal(0, pair.Left.Pool.GetStatistics().QuarantinedBuffers);
        foreach (RmaBuffer other in others)
            other.Dispose();
    }

    // shm of libfabric 1.17 reports negative codes in its error entries.
    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    public async Task AnErrorOfEitherSignIsTheSameError(int sign)
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        RmaBuffer source = pair.Left.Pool.Rent(64);
        world.End(FakeEnding.Failed, sign * FiErrno.FI_EIO);
        RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(() => pair.Left.Endpoint.WriteAsync(source, region, cancellationToken: Token).AsTask());
        Assert.Equal((FiErrno.FI_EIO, nameof(FiErrno.FI_EIO)), (error.ErrorCode, error.ErrorName));
        Assert.EndsWith("The provider says: the fake's error 5, nothing more.", error.Message, StringComparison.Ordinal);
        // The provider may also have no text for its own error.
        world.Fail("fi_cq_strerror", FiErrno.FI_EINVAL);
        error = await Assert.ThrowsAsync<RmaOperationException>(() => pair.Left.Endpoint.WriteAsync(source, region, cancellationToken: Token).AsTask());
        Assert.EndsWith("The provider says: provider error 1005.", error.Message, StringComparison.Ordinal);
        source.Dispose();
        Assert.Equal(0, pair.Left.Pool.GetStatistics().RentedBuffers);
        world.End(FakeEnding.AtOnce);
        using RmaBuffer again = pair.Left.Pool.Rent(64);
        await pair.Left.Endpoint.WriteAsync(again, region, cancellationToken: Token);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task ATransportThatTakesOneOperationAtATimeDoesThemAll(string mode)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode), depth: 1);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer target = pair.Right.Pool.Rent(100 * 8);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(8);
        source.Span.Fill(3);
        // All are started before the first is awaited, which makes progress.
        ValueTask[] writes = [.. Enumerable.Range(0, 100).Select(i => pair.Left.Endpoint.WriteAsync(source, region.Slice(i * 8, 8), cancellationToken: Token))];
        foreach (ValueTask write in writes)
            await write;
        Assert.False(target.Span.ContainsAnyExcept((byte)3));
        Assert.True(world.Calls["fi_writemsg"] > 100);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task WhatIsLongerThanTheTransportsMessagesGoesInParts(string mode)
    {
        using var world = new FakeWorld(FakeMode.Parse(mode), maxMessage: 1000);
        await using var pair = new EndpointPair(world.Name);
        using RmaBuffer target = pair.Right.Pool.Rent(100_001);
        target.Span.Clear();
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(100_001);
        System.Security.Cryptography.RandomNumberGenerator.Fill(source.Span);
        await pair.Left.Endpoint.WriteAsync(source, region, cancellationToken: Token);
        Assert.True(source.Span.SequenceEqual(target.Span));
        Assert.Equal(101, world.Calls["fi_writemsg"]);
        using RmaBuffer back = pair.Left.Pool.Rent(100_001);
        await pair.Left.Endpoint.ReadAsync(back, region, cancellationToken: Token);
        Assert.True(source.Span.SequenceEqual(back.Span));
    }

    [Fact]
    public async Task GrowthThatTheProviderRefusesLeavesWhatThereIsInService()
    {
        using var world = new FakeWorld(FakeMode.Efa, limit: 3 << 20);
        await using var pair = new EndpointPair(world.Name);
        List<RmaBuffer> rented = [];
        RmaRegistrationException refused;
        while (true)
        {
            try
            {
                rented.Add(pair.Left.Pool.Rent(64 << 10));
            }
            catch (RmaRegistrationException e)
            {
                refused = e;
                break;
            }
        }
        Assert.Equal(nameof(FiErrno.FI_ENOMEM), refused.ErrorName);
        Assert.Equal(48, rented.Count);
        Assert.Equal(3 << 20, world.RegisteredBytes);
        Assert.Equal(3 << 20, pair.Left.Pool.GetStatistics().RegisteredBytes);
        foreach (RmaBuffer buffer in rented)
            buffer.Dispose();
        pair.Left.Pool.Rent(64 << 10).Dispose();
    }

    [Fact]
    public async Task ASlowRegistrationHoldsUpNoRentsThatNeedNone()
    {
        using var world = new FakeWorld(FakeMode.Tcp);
        await using var pair = new EndpointPair(world.Name);
        pair.Left.Pool.Rent(64).Dispose();
        world.Hold("fi_mr_regattr");
        Task<RmaBuffer> slow = Task.Run(() => pair.Left.Pool.Rent(1 << 20), Token);
        while (world.Calls["fi_mr_regattr"] < 2)
            await Task.Yield();
        for (int i = 0; i < 1000; i++)
            pair.Left.Pool.Rent(64).Dispose();
        Assert.False(slow.IsCompleted);
        world.Release();
        (await slow).Dispose();
    }

    [Fact]
    public async Task WhereDeliveryIsUnknownTheEndpointSaysSoAndTransmitWorks()
    {
        using var world = new FakeWorld(FakeMode.Tcp, delivers: false);
        using (Regions.IRmaContext context = world.Open())
        {
            Assert.False(context.Traits.DeliveryComplete);
            Assert.Contains("Endpoint:CompletionLevel", Assert.Throws<RmaProviderException>(context.OpenEndpoint).Message, StringComparison.Ordinal);
        }
        await using var pair = new EndpointPair(world.Name, o => o.Endpoint.CompletionLevel = LibfabricCompletionLevel.Transmit);
        using RmaBuffer target = pair.Right.Pool.Rent(64);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        using RemoteRegion region = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(64);
        source.Span.Fill(4);
        await pair.Left.Endpoint.WriteAsync(source, region, cancellationToken: Token);
        Assert.False(target.Span.ContainsAnyExcept((byte)4));
    }
}
