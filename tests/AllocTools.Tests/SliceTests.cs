using AllocTools.Endpoints;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Tests parts of buffers and of peers' memory, and parts of those parts.</summary>
public sealed class SliceTests : IAsyncDisposable
{
    private readonly TestPool _pool = new(o => o.Access = RmaAccess.RemoteWrite);
    private readonly RmaBuffer _buffer;
    private readonly RmaExposure _exposure;
    private readonly IRmaEndpoint _endpoint;
    private readonly RemoteRegion _region;

    public SliceTests()
    {
        _buffer = _pool.Pool.Rent(1000);
        _exposure = _buffer.Expose(RmaAccess.RemoteWrite);
        _endpoint = _pool.Context.OpenEndpoint();
        _region = _endpoint.Import(_endpoint.InsertPeer(_endpoint.Address.Span), _exposure.Remote);
    }

    public async ValueTask DisposeAsync()
    {
        _region.Dispose();
        await _endpoint.DisposeAsync();
        _exposure.Dispose();
        _buffer.Dispose();
        await _pool.DisposeAsync();
    }

    [Fact]
    public void APartOfAPartIsCountedFromThePart()
    {
        RmaSlice part = _buffer.Slice(100, 500);
        Assert.Equal((130, 40), (part.Slice(30, 40).Offset, part.Slice(30, 40).Length));
        Assert.Equal((130, 470), (part.Slice(30).Offset, part.Slice(30).Length));
        Assert.Equal((130, 440), (part[30..^30].Offset, part[30..^30].Length));
        Assert.Equal((600, 0), (part[^0..].Offset, part[^0..].Length));
        Assert.Equal((100, 900), (_buffer.Slice(100).Offset, _buffer.Slice(100).Length));
        Assert.Equal((0, 10), (_buffer[..10].Offset, _buffer[..10].Length));
        Assert.Equal(_buffer.Address + 130, part[30..].Address);
        part[30..].Span[0] = 77;
        Assert.Equal(77, _buffer.Span[130]);
    }

    [Fact]
    public void APartOfAPeersMemoryIsCountedFromThePart()
    {
        RemoteSlice part = _region.Slice(100, 500);
        Assert.Equal((130, 40), (part.Slice(30, 40).Offset, part.Slice(30, 40).Length));
        Assert.Equal((130, 470), (part.Slice(30).Offset, part.Slice(30).Length));
        Assert.Equal((130, 440), (part[30..^30].Offset, part[30..^30].Length));
        Assert.Equal((100, 900), (_region.Slice(100).Offset, _region.Slice(100).Length));
        Assert.Equal((0, 10), (_region[..10].Offset, _region[..10].Length));
        Assert.Equal(_region.Memory.Address + 130, part[30..].Address);
        Assert.Same(_region, part[30..].Region);
    }

    [Theory]
    [InlineData(501, 0, "offset")]
    [InlineData(-1, 0, "offset")]
    [InlineData(0, 501, "length")]
    [InlineData(400, 101, "length")]
    [InlineData(400, -1, "length")]
    [InlineData(long.MaxValue, long.MaxValue, "offset")]
    public void WhatReachesOutOfAPartIsRefusedByTheNameOfTheParameter(long offset, long length, string parameter)
    {
        Assert.Equal(parameter, Assert.Throws<ArgumentOutOfRangeException>(() => _buffer.Slice(0, 500).Slice(offset, length)).ParamName);
        Assert.Equal(parameter, Assert.Throws<ArgumentOutOfRangeException>(() => _region.Slice(0, 500).Slice(offset, length)).ParamName);
    }

    [Fact]
    public void OffsetsAndRangesBeyondTheEndAreRefused()
    {
        RmaSlice part = _buffer.Slice(0, 500);
        RemoteSlice remote = _region.Slice(0, 500);
        Assert.Equal("offset", Assert.Throws<ArgumentOutOfRangeException>(() => part.Slice(501)).ParamName);
        Assert.Equal("offset", Assert.Throws<ArgumentOutOfRangeException>(() => remote.Slice(-1)).ParamName);
        Assert.Equal("range", Assert.Throws<ArgumentOutOfRangeException>(() => part[..501]).ParamName);
        Assert.Equal("range", Assert.Throws<ArgumentOutOfRangeException>(() => part[^501..]).ParamName);
        Assert.Equal("range", Assert.Throws<ArgumentOutOfRangeException>(() => remote[5..4]).ParamName);
        Assert.Equal("range", Assert.Throws<ArgumentOutOfRangeException>(() => _buffer[..1001]).ParamName);
        Assert.Equal("range", Assert.Throws<ArgumentOutOfRangeException>(() => _region[1001..]).ParamName);
    }

    [Fact]
    public void PointersNameTheirOwnParameters()
    {
        RmaPointer<int> pointer = _buffer.AsPointer<int>();
        Assert.Equal("index", Assert.Throws<ArgumentOutOfRangeException>(() => pointer[250]).ParamName);
        Assert.Equal("count", Assert.Throws<ArgumentOutOfRangeException>(() => { _ = pointer.AsSpan(251); }).ParamName);
        Assert.Equal("count", Assert.Throws<ArgumentOutOfRangeException>(() => pointer.Slice(251)).ParamName);
        Assert.Equal("count", Assert.Throws<ArgumentOutOfRangeException>(() => pointer.Expose(251, RmaAccess.RemoteWrite)).ParamName);
        Assert.Equal("count", Assert.Throws<ArgumentOutOfRangeException>(() => (pointer + 250).Slice(1)).ParamName);
    }
}
