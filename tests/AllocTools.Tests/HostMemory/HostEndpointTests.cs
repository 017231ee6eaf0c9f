using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.HostMemory;

public sealed class HostEndpointTests : IAsyncDisposable
{
    private readonly TestPool _left = new(o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
    private readonly TestPool _right = new(o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
    private readonly IRmaEndpoint _here;
    private readonly IRmaEndpoint _there;
    private readonly RmaPeer _peer;

    public HostEndpointTests()
    {
        _here = _left.Context.OpenEndpoint();
        _there = _right.Context.OpenEndpoint();
        _peer = _here.InsertPeer(_there.Address.Span);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _here.DisposeAsync();
        await _there.DisposeAsync();
        await _left.DisposeAsync();
        await _right.DisposeAsync();
    }

    [Fact]
    public void WhatWasSentToAPeerThatIsRemovedEndsWithTheEndpoint()
    {
        RmaBuffer message = _left.Pool.Rent(10);
        Assert.True(_here.TryPost(RmaOperation.Send(message, _peer)));
        _here.RemovePeer(_peer);
        Assert.Throws<InvalidOperationException>(message.Return);
        _here.Dispose();
        message.Dispose();
    }

    [Fact]
    public async Task WhatARegistrationDoesNotGrantChangesNoByte()
    {
        await using var readOnly = new TestPool(o => o.Access = RmaAccess.RemoteRead);
        await using IRmaEndpoint owner = readOnly.Context.OpenEndpoint();
        RmaPeer peer = _here.InsertPeer(owner.Address.Span);
        using RmaBuffer target = readOnly.Pool.Rent(1000);
        target.Span.Fill(1);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteRead);
        using RmaBuffer source = _left.Pool.Rent(1000);
        source.Span.Fill(2);
        RemoteMemory granted = exposure.Remote;
        RemoteMemory[] forged =
        [
            new(granted.Address, 1000, granted.Key, RmaAccess.RemoteWrite),
            new(granted.Address, 1000, granted.Key + 1, RmaAccess.RemoteWrite),
            new(granted.Address + (1UL << 40), 1000, granted.Key, RmaAccess.RemoteWrite),
            new(ulong.MaxValue - 1000, 1000, granted.Key, RmaAccess.RemoteWrite),
        ];
        foreach (RemoteMemory memory in forged)
        {
            using RemoteRegion remote = _here.Import(peer, memory);
            RmaOperationException error = await Assert.ThrowsAsync<RmaOperationException>(() => _here.WriteAsync(source, remote, cancellationToken: Token).AsTask());
            Assert.Equal("EACCES", error.ErrorName);
        }
        Assert.False(target.Span.ContainsAnyExcept((byte)1));
        using RemoteRegion honest = _here.Import(peer, granted);
        Assert.Throws<InvalidOperationException>(() => { _ = _here.WriteAsync(source, honest, cancellationToken: Token).AsTask(); });
    }

    [Fact]
    public async Task ClosingEitherSideEndsWhatWaits()
    {
        using RmaBuffer buffer = _left.Pool.Rent(100);
        Task send = _here.SendAsync(buffer, _peer, cancellationToken: Token).AsTask();
        Task<RmaReceiveResult> receive = _here.ReceiveAsync(buffer, cancellationToken: Token).AsTask();
        await _there.DisposeAsync();
        Assert.Equal("ECONNRESET", (await Assert.ThrowsAsync<RmaPeerLostException>(() => send)).ErrorName);
        await _here.DisposeAsync();
        Assert.Equal("ECANCELED", (await Assert.ThrowsAsync<RmaOperationException>(() => receive)).ErrorName);
    }

    [Fact]
    public void AForeignAddressIsAClearError()
    {
        Assert.Contains("inside one process", Assert.Throws<RmaProviderException>(() => _here.InsertPeer([.. "RMAHOST1"u8, .. Guid.NewGuid().ToByteArray()])).Message, StringComparison.Ordinal);
        Assert.Contains("3 bytes", Assert.Throws<RmaProviderException>(() => _here.InsertPeer([1, 2, 3])).Message, StringComparison.Ordinal);
    }
}
