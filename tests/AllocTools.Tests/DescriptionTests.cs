using AllocTools.Endpoints;
using AllocTools.HostMemory;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AllocTools.Tests;

/// <summary>
/// Tests how values and errors describe themselves: by lengths, offsets, providers, peers and owners, but never by an
/// address or a key.
/// </summary>
public sealed class DescriptionTests : IDisposable
{
    private readonly HostContext _context = new(new HostProviderOptions(), NullLogger.Instance);
    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly IRmaEndpoint _endpoint;

    public DescriptionTests()
    {
        _pool = new RmaMemoryPool<HostProvider>(
            _context,
            new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, LeakDetection = RmaLeakDetection.All, DrainTimeout = TimeSpan.Zero },
            "gradients");
        _endpoint = _context.OpenEndpoint();
    }

    [Fact]
    public void BuffersSayTheirLengthAndTheirPool()
    {
        RmaBuffer buffer = _pool.Rent(1000);
        Assert.Equal("buffer of 1,000 bytes of pool 'gradients'", buffer.ToString());
        Assert.Equal("1,000 bytes at offset 0 of a buffer of 1,000 bytes of pool 'gradients'", ((RmaSlice)buffer).ToString());
        RmaSlice slice = buffer.Slice(100)[10..^20];
        Assert.Equal("870 bytes at offset 110 of a buffer of 1,000 bytes of pool 'gradients'", slice.ToString());
        buffer.Dispose();
        Assert.Equal("buffer of 1,000 bytes of pool 'gradients', returned", buffer.ToString());
        Assert.Equal("870 bytes at offset 110 of a buffer of 1,000 bytes of pool 'gradients', returned", slice.ToString());
        Assert.Equal("no buffer", default(RmaBuffer).ToString());
        Assert.Equal("no buffer", default(RmaSlice).ToString());
    }

    [Fact]
    public void PeersAndTheirMemorySayTheirProvider()
    {
        RmaPeer peer = _endpoint.InsertPeer(_endpoint.Address.Span);
        using RmaBuffer buffer = _pool.Rent(64 << 10);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        RemoteRegion region = _endpoint.Import(peer, exposure.Remote);
        Assert.Equal("peer 1 of provider 'host'", peer.ToString());
        Assert.Equal("64 KiB of peer 1 of provider 'host', for RemoteWrite", region.ToString());
        RemoteSlice slice = region.Slice(4096, 1 << 10);
        Assert.Equal("1 KiB at offset 4,096 of 64 KiB of peer 1 of provider 'host', for RemoteWrite", slice.ToString());
        RmaBatch batch = _endpoint.CreateBatch();
        Assert.Equal("batch of 0 operations of 0 bytes, of provider 'host'", batch.ToString());
        batch.Write(buffer.Slice(0, 1 << 10), slice);
        Assert.Equal("batch of 1 operation of 1 KiB, of provider 'host'", batch.ToString());
        _endpoint.RemovePeer(peer);
        region.Dispose();
        Assert.Equal("peer 1 of provider 'host', removed", peer.ToString());
        Assert.Equal("64 KiB of peer 1 of provider 'host', removed, for RemoteWrite, disposed", region.ToString());
        Assert.Equal("no peer", default(RmaPeer).ToString());
        Assert.Equal("no remote memory", default(RemoteSlice).ToString());
    }

    [Fact]
    public void ALostPeerSaysSo()
    {
        IRmaEndpoint other = _context.OpenEndpoint();
        RmaPeer peer = _endpoint.InsertPeer(other.Address.Span);
        other.Dispose();
        Assert.Equal("peer 1 of provider 'host', lost", peer.ToString());
    }

    [Fact]
    public void AReturnedBufferNamesItsPoolAndWhoRentedIt()
    {
        RmaBuffer buffer;
        using (RmaOwner.Begin("trainer"))
            buffer = _pool.Rent(1000);
        buffer.Dispose();
        const string Start = "This buffer of 1,000 bytes of pool 'gradients', rented by trainer, was returned";
        Assert.StartsWith(Start, Assert.Throws<InvalidOperationException>(() => buffer.Span.Length).Message, StringComparison.Ordinal);
        Assert.StartsWith(Start, Assert.Throws<InvalidOperationException>(buffer.Dispose).Message, StringComparison.Ordinal);
        Assert.StartsWith(Start, Assert.Throws<InvalidOperationException>(() => buffer.Slice(0, 10).Span.Length).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ALateReturnNamesItsPoolAndWhoRentedIt()
    {
        RmaBuffer buffer;
        using (RmaOwner.Begin("trainer"))
            buffer = _pool.Rent(1000);
        _pool.Dispose();
        Assert.StartsWith(
            "The buffer of 1,000 bytes of pool 'gradients', rented by trainer, was returned after the pool was disposed.",
            Assert.Throws<ObjectDisposedException>(buffer.Return).Message,
            StringComparison.Ordinal);
        Assert.StartsWith(
            "The pool 'gradients' is disposed: nothing can be rented any more. Stop what rents before",
            Assert.Throws<ObjectDisposedException>(() => _pool.Rent(1)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void AClosedContextNamesItsProvider()
    {
        _endpoint.Dispose();
        _pool.Dispose();
        _context.Dispose();
        const string Start = "The context of provider 'host' is closed";
        Assert.StartsWith(Start, Assert.Throws<ObjectDisposedException>(_context.OpenEndpoint).Message, StringComparison.Ordinal);
        Assert.StartsWith(Start, Assert.Throws<ObjectDisposedException>(_context.Retain).Message, StringComparison.Ordinal);
        Assert.StartsWith(Start, Assert.Throws<ObjectDisposedException>(() => _context.Register(4096, 4096, RmaAccess.None)).Message, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _endpoint.Dispose();
        _pool.Dispose();
        _context.Dispose();
    }
}
