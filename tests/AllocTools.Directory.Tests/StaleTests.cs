using System.Net;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Directory.Tests.Support;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Directory.Tests;

/// <summary>Tests the way from a name to memory of its publisher, and that entries of an ended process lead nowhere.</summary>
public sealed class StaleTests : IAsyncDisposable
{
    private readonly HttpBed _bed = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task MemoryIsReachedByItsNameUntilItsProcessHasEnded()
    {
        await _bed.StartKeeperAsync();
        DirectoryProcess process = await _bed.StartProcessAsync();
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        await using var client = new RmaConnections(pool);
        var server = new RmaConnections(pool);
        RmaConnectionListener listener = server.Listen(new IPEndPoint(IPAddress.Loopback, 0));
        var at = (IPEndPoint)listener.EndPoint;
        using RmaBuffer buffer = pool.Rent(100);
        using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        await process.Directory.PublishAsync(new RmaDirectoryEntry("blocks", server.Process, at, new Dictionary<string, RemoteMemory> { ["first"] = exposure.Remote }), Token);

        RmaDirectoryEntry entry = Assert.Single(await process.Directory.ResolveAsync("blocks", Token));
        RmaConnection connection = await client.ConnectAsync(entry, Token);
        RemoteRegion region = connection.Import(entry, "first");
        using RmaBuffer source = pool.Rent(100);
        source.Span.Fill(9);
        await client.Endpoint.WriteAsync(source, region, cancellationToken: Token);
        Assert.Equal(Enumerable.Repeat((byte)9, 100), buffer.Span.ToArray());
        Assert.Contains("it has first", Assert.Throws<ArgumentException>(() => connection.Import(entry, "second")).Message, StringComparison.Ordinal);
        await connection.DisposeAsync();

        // Its process ends, and another one listens at the same place.
        await server.DisposeAsync();
        await using var another = new RmaConnections(pool);
        await using RmaConnectionListener again = another.Listen(at);
        var stale = await Assert.ThrowsAsync<RmaDirectoryException>(async () => await client.ConnectAsync(entry, Token));
        Assert.Contains("Resolve the name again", stale.Message, StringComparison.Ordinal);
        await using RmaConnection other = await client.ConnectAsync(at, Token);
        Assert.Throws<RmaDirectoryException>(() => other.Import(entry, "first"));
    }
}
