using AllocTools.Endpoints;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// Tests with <see cref="RmaIsolation.PerExposure"/> what a peer can still do with the key of an exposure that has
/// ended.
/// </summary>
public sealed class OldKeyTests
{
    private const int Length = 64 << 10;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>
    /// Gets all fabrics but shm with virtual addresses, which checks no key (libfabric 1.17); its traits say so.
    /// </summary>
    public static TheoryData<string> Fabrics => [.. Fabric.All.Where(f => f != Fabric.SharedMemoryByAddress)];

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task ChangesNoByte(string fabric)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(
            fabric, configure: o => o.Endpoint.OperationTimeout = TimeSpan.FromSeconds(20), peerOptions: "isolated");
        await side.Process.AskAsync("rent 65536 5");
        string before = await side.Process.AskAsync("hash 0");
        using RemoteRegion old = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, Length));
        using RmaBuffer bytes = side.Pool.Rent(Length);
        await side.Endpoint.ReadAsync(bytes, old, cancellationToken: Token);
        Assert.False(bytes.Span.ContainsAnyExcept((byte)5));
        Assert.Equal("ok", await side.Process.AskAsync("conceal 0"));

        // Whether an error is reported depends on the transport; a connection may be lost by it.
        bytes.Span.Fill(9);
        _ = await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(bytes, old, TimeSpan.FromSeconds(2), Token).AsTask());
        Assert.Equal(before, await side.Process.AskAsync("hash 0"));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task OpensNoLaterExposureOfTheSameBytes(string fabric)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(
            fabric, configure: o => o.Endpoint.OperationTimeout = TimeSpan.FromSeconds(20), peerOptions: "isolated");
        await side.Process.AskAsync("rent 65536 5");
        string before = await side.Process.AskAsync("hash 0");
        using RemoteRegion old = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, Length));
        Assert.Equal("ok", await side.Process.AskAsync("conceal 0"));
        using RemoteRegion next = side.Endpoint.Import(side.Peer, await side.ExposedAsync(0, 0, Length));
        using RmaBuffer bytes = side.Pool.Rent(Length);
        bytes.Span.Fill(9);
        _ = await Record.ExceptionAsync(() => side.Endpoint.WriteAsync(bytes, old, TimeSpan.FromSeconds(2), Token).AsTask());
        Assert.Equal(before, await side.Process.AskAsync("hash 0"));
    }
}
